// What every pass reads. A test compares the layout with its mirror in Rust.
struct Scene {
    clip_from_world: mat4x4<f32>,
    light_from_world: mat4x4<f32>,
    camera_position: vec4<f32>,
    // Towards the light; w is the shadow blur in shadow map coordinates.
    light_direction: vec4<f32>,
    light_colour: vec4<f32>,
    // rgb, and the number of objects.
    ambient: vec4<f32>,
    ground_colour: vec4<f32>,
    // Texture strength, texture cells a metre, pattern seed, roughness.
    ground_texture: vec4<f32>,
    // Gain, blur in pixels, vignetting, noise.
    sensor: vec4<f32>,
    // Width and height in pixels, noise seed, unused.
    image: vec4<u32>,
}

struct Object {
    world_from_local: mat4x4<f32>,
    // w is the rounding.
    half_extents: vec4<f32>,
    // w is the marbling.
    body: vec4<f32>,
    // w is the radius of pips over the half size.
    second: vec4<f32>,
    // w is 1 for a die.
    pips: vec4<f32>,
    // Roughness, gloss, translucency, unused.
    material: vec4<f32>,
}

struct VertexIn {
    @location(0) core: vec3<f32>,
    @location(1) direction: vec3<f32>,
    @builtin(instance_index) instance: u32,
}

@group(0) @binding(0) var<uniform> scene: Scene;
@group(0) @binding(1) var<storage, read> objects: array<Object>;

// A corner of the ground plane, which is one quad drawn as a strip.
fn ground_position(index: u32) -> vec3<f32> {
    let corner = vec2(f32(index & 1u), f32(index >> 1u)) * 2.0 - 1.0;
    return vec3(corner * 3.0, 0.0);
}

fn local_position(vertex: VertexIn) -> vec3<f32> {
    let half = objects[vertex.instance].half_extents;
    return vertex.core * (half.xyz - half.w) + half.w * vertex.direction;
}

fn world_position(vertex: VertexIn) -> vec4<f32> {
    return objects[vertex.instance].world_from_local * vec4(local_position(vertex), 1.0);
}

// What every pass reads. A test compares the layouts with their mirrors in Rust.
struct Light {
    light_from_world: mat4x4<f32>,
    // Towards a directional light, or its place; w is 0 for the former and 1 for the latter.
    place: vec4<f32>,
    // Linear RGB of a white surface that faces it; w is the tangent of half its angular
    // diameter, or its radius in metres.
    colour: vec4<f32>,
    // Where a spot or an area light faces; w is its kind: 0 all around, 1 spot, 2 area.
    axis: vec4<f32>,
    // Cosines of a spot's outer and inner angle; gathers of the search for what stands
    // between, and of the shadow.
    cone: vec4<f32>,
    // Depth range in metres for a directional light, otherwise the two terms of the
    // projection; shadow map width a metre (or a unit of tangent); side of a texel in the
    // world (or at one metre).
    shadow: vec4<f32>,
}

struct Scene {
    clip_from_world: mat4x4<f32>,
    // w is the distance of the near plane.
    camera_position: vec4<f32>,
    // Half the image's width and height, and along the line of sight, at one metre; w is how
    // far the image's middle lies from the line of sight, in halves of the image.
    camera_right: vec4<f32>,
    camera_up: vec4<f32>,
    camera_forward: vec4<f32>,
    // Radiance of a white diffuse surface, as spherical harmonics of its normal.
    irradiance: array<vec4<f32>, 9>,
    // Texture strength, cells a metre, pattern seed, whether it shows a picture.
    ground_texture: vec4<f32>,
    // Gain, reach of the lens blur in pixels, vignetting, noise.
    sensor: vec4<f32>,
    // Weights of the lens blur by distance along one axis.
    blur: array<vec4<f32>, 5>,
    // Width and height in pixels, noise seed, samples a pixel along an axis.
    image: vec4<u32>,
    // Whether the sensor sees no colours, tiles a row, levels of the environment map, unused.
    counts: vec4<u32>,
    // Points that are even over a disc of radius 1 (Vogel 1979): four, and then ten.
    discs: array<vec4<f32>, 14>,
    lights: array<Light, 4>,
}

// A part of an object; the ground is the first.
struct Part {
    world_from_local: mat4x4<f32>,
    local_from_world: mat4x4<f32>,
    // Half extents in the part's own space; w is the mean scale into the world.
    half_extents: vec4<f32>,
    // w is the marbling.
    body: vec4<f32>,
    // Of the ground its mean colour; w is the radius of pips over the half size.
    second: vec4<f32>,
    // w is the pattern: 0 plain, 1 marble, 2 pips, 3 the ground's.
    pips: vec4<f32>,
    // Roughness, gloss, translucency, metallic.
    material: vec4<f32>,
    // The middle in the world, and the radius of the ball that keeps light from others.
    occluder: vec4<f32>,
    // Radiance that the surface gives off.
    emission: vec4<f32>,
    // Share under lacquer, the lacquer's roughness, unused.
    coat: vec4<f32>,
    // What a medium absorbs a metre; w is how much its density varies.
    absorption: vec4<f32>,
    // What a medium glows a metre; w is how many cells of its density's noise a metre has.
    glow: vec4<f32>,
    // Factor on the texture's colours; w is one more than the number of its layer, or 0.
    texture: vec4<f32>,
    // Cosine and sine of the tiles' turn over their side in metres, 0 where texture coordinates
    // count; their offset.
    tiles: vec4<f32>,
    // The number of its object; its first decal and how many there are; unused.
    owner: vec4<u32>,
}

@group(0) @binding(0) var<uniform> scene: Scene;
@group(0) @binding(1) var<storage, read> parts: array<Part>;
// Numbers of parts in the order in which they are drawn.
@group(0) @binding(2) var<storage, read> drawn: array<u32>;

struct VertexIn {
    @location(0) position: vec3<f32>,
    @location(1) normal: vec3<f32>,
    @location(2) uv: vec2<f32>,
    @builtin(instance_index) instance: u32,
}

// How much light is lost and gained in bodies that it passes straight through. Each face adds
// its distance, front faces with a minus, so that the sum over both is the way in the body.
@group(1) @binding(0) var samples: texture_2d<u32>;
@group(1) @binding(1) var sample_depths: texture_depth_2d;

struct Varying {
    @builtin(position) position: vec4<f32>,
    @location(0) world: vec3<f32>,
    @location(1) @interpolate(flat) number: u32,
}

@vertex
fn vertex(in: VertexIn) -> Varying {
    let number = drawn[in.instance];
    let world = parts[number].world_from_local * vec4(in.position, 1.0);
    return Varying(scene.clip_from_world * world, world.xyz, number);
}

struct Target {
    // Natural logarithm of the share that is lost.
    @location(0) absorption: vec4<f32>,
    @location(1) glow: vec4<f32>,
}

@fragment
fn fragment(in: Varying, @builtin(front_facing) is_front: bool) -> Target {
    let part = &parts[in.number];
    let between = in.world - scene.camera_position.xyz;
    let along = dot(between, scene.camera_forward.xyz);
    let distance = length(between);
    // What is opaque ends the way.
    let end = distance_of(textureLoad(sample_depths, vec2<i32>(in.position.xy), 0));
    let seen = distance * min(1.0, end / max(along, 1e-9));
    // From the body's middle, since small numbers keep more of their digits.
    let middle = length((*part).occluder.xyz - scene.camera_position.xyz);
    let way = select(seen - middle, middle - seen, is_front);
    let local = ((*part).local_from_world * vec4(in.world, 1.0)).xyz * (*part).half_extents.w;
    let at = local * (*part).glow.w + f32(in.number) * 17.0;
    let clumps = noise(at) * 0.65 + noise(at * 2.7) * 0.35;
    let density = 1.0 + 2.0 * (*part).absorption.w * (clumps - 0.5);
    return Target(
        vec4((*part).absorption.rgb * way * density, 0.0),
        vec4((*part).glow.rgb * way * density, 0.0),
    );
}

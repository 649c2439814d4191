// Linear radiance of objects and ground.
@group(1) @binding(0) var shadow_map: texture_depth_2d;
@group(1) @binding(1) var shadow_sampler: sampler_comparison;

const PI = 3.14159265;

struct Varying {
    @builtin(position) position: vec4<f32>,
    @location(0) world: vec3<f32>,
    @location(1) normal: vec3<f32>,
    @location(2) local: vec3<f32>,
    @location(3) @interpolate(flat) instance: u32,
}

@vertex
fn vertex(in: VertexIn) -> Varying {
    let world = world_position(in);
    let normal = (objects[in.instance].world_from_local * vec4(in.direction, 0.0)).xyz;
    return Varying(scene.clip_from_world * world, world.xyz, normal, local_position(in), in.instance);
}

@vertex
fn ground_vertex(@builtin(vertex_index) index: u32) -> Varying {
    let world = ground_position(index);
    return Varying(scene.clip_from_world * vec4(world, 1.0), world, vec3(0.0, 0.0, 1.0), world, 0u);
}

fn hash(cell: vec3<i32>) -> f32 {
    var h = bitcast<u32>(cell.x) * 0x9e3779b1u ^ bitcast<u32>(cell.y) * 0x85ebca77u ^ bitcast<u32>(cell.z) * 0xc2b2ae3du;
    h = (h ^ (h >> 15u)) * 0x2c1b3c6du;
    h = (h ^ (h >> 12u)) * 0x297a2d39u;
    return f32((h ^ (h >> 15u)) >> 8u) / 16777216.0;
}

// Smooth value noise in 0..1.
fn noise(p: vec3<f32>) -> f32 {
    let cell = vec3<i32>(floor(p));
    let t = fract(p);
    let s = t * t * (3.0 - 2.0 * t);
    var sum = 0.0;
    for (var corner = 0; corner < 8; corner++) {
        let offset = vec3(corner & 1, (corner >> 1u) & 1, corner >> 2u);
        let weight = select(1.0 - s, s, offset == vec3(1));
        sum += hash(cell + offset) * weight.x * weight.y * weight.z;
    }
    return sum;
}

// The share of the key light that arrives, from taps on a spiral.
fn lit(world: vec3<f32>, normal: vec3<f32>) -> f32 {
    let clip = scene.light_from_world * vec4(world + normal * 0.0006, 1.0);
    let uv = clip.xy * vec2(0.5, -0.5) + 0.5;
    if any(uv < vec2(0.0)) || any(uv > vec2(1.0)) {
        return 1.0;
    }
    var sum = 0.0;
    for (var tap = 0; tap < 12; tap++) {
        let radius = scene.light_direction.w * sqrt((f32(tap) + 0.5) / 12.0);
        let angle = f32(tap) * 2.39996;
        let at = uv + radius * vec2(cos(angle), sin(angle));
        sum += textureSampleCompareLevel(shadow_map, shadow_sampler, at, clip.z - 0.002);
    }
    return sum / 12.0;
}

// How much of the sky other objects leave, each taken as a sphere of its least extent.
fn open_sky(world: vec3<f32>, normal: vec3<f32>, own: u32) -> f32 {
    var open = 1.0;
    for (var index = 0u; index < u32(scene.ambient.w); index++) {
        let half = objects[index].half_extents.xyz;
        let radius = min(half.x, min(half.y, half.z)) * 1.2;
        let to = objects[index].world_from_local[3].xyz - world;
        let squared = dot(to, to);
        if index != own && squared < 36.0 * radius * radius {
            let facing = max(dot(normal, to) * inverseSqrt(squared), 0.0);
            open *= 1.0 - 0.65 * facing * min(radius * radius / squared, 1.0);
        }
    }
    return open;
}

// A room's light from a direction: floor, walls, ceiling with a bright window.
fn environment(direction: vec3<f32>, roughness: f32) -> vec3<f32> {
    let up = direction.z;
    let edge = 0.04 + roughness * 0.6;
    let lamp = smoothstep(0.93 - edge, 0.93 + edge, dot(direction, scene.light_direction.xyz));
    let sky = mix(0.35, 1.0, smoothstep(-0.2, 0.9, up));
    let below = scene.ground_colour.rgb * 0.7;
    let room = mix(below, vec3(sky), smoothstep(-0.15, 0.15, up));
    return room * scene.ambient.rgb + lamp * scene.light_colour.rgb * 1.2;
}

// GGX with Smith's height-correlated visibility (Walter et al. 2007; Heitz 2014) times Schlick's Fresnel.
fn specular(normal: vec3<f32>, view: vec3<f32>, light: vec3<f32>, roughness: f32) -> f32 {
    let h = normalize(view + light);
    let a2 = max(pow(roughness, 4.0), 1e-4);
    let nh = max(dot(normal, h), 0.0);
    let nv = max(dot(normal, view), 1e-3);
    let nl = max(dot(normal, light), 0.0);
    let d = nh * nh * (a2 - 1.0) + 1.0;
    let distribution = a2 / (PI * d * d);
    let visibility = 0.5 / (nl * sqrt(nv * nv * (1.0 - a2) + a2) + nv * sqrt(nl * nl * (1.0 - a2) + a2));
    let fresnel = 0.04 + 0.96 * pow(1.0 - max(dot(view, h), 0.0), 5.0);
    return distribution * visibility * fresnel * nl;
}

fn shade(world: vec3<f32>, normal: vec3<f32>, albedo: vec3<f32>, roughness: f32, gloss: f32, own: u32) -> vec3<f32> {
    let view = normalize(scene.camera_position.xyz - world);
    let light = scene.light_direction.xyz;
    let open = open_sky(world, normal, own);
    let key = scene.light_colour.rgb * lit(world, normal);
    let bounce = mix(scene.ground_colour.rgb * 0.6, vec3(1.0), normal.z * 0.5 + 0.5);
    let diffuse = albedo * (key * max(dot(normal, light), 0.0) + scene.ambient.rgb * bounce * open);
    let fresnel = 0.04 + 0.96 * pow(1.0 - max(dot(normal, view), 0.0), 5.0);
    let mirror = environment(reflect(-view, normal), roughness) * fresnel * gloss * open;
    return diffuse + key * specular(normal, view, light, max(roughness, 0.08)) * gloss + mirror;
}

struct Pip {
    coverage: f32,
    // Tilt of the dimple's wall in the die's space.
    tilt: vec3<f32>,
}

// The pip at a point of a die's surface; layouts are the usual ones.
fn pip(object: Object, local: vec3<f32>) -> Pip {
    let p = local / object.half_extents.x;
    let size = abs(p);
    var u = vec3(0.0, 1.0, 0.0);
    var v = vec3(0.0, 0.0, 1.0);
    var pips = select(6, 1, p.x > 0.0);
    if size.y >= size.x && size.y >= size.z {
        u = vec3(0.0, 0.0, 1.0);
        v = vec3(1.0, 0.0, 0.0);
        pips = select(5, 2, p.y > 0.0);
    } else if size.z >= size.x && size.z >= size.y {
        u = vec3(1.0, 0.0, 0.0);
        v = vec3(0.0, 1.0, 0.0);
        pips = select(4, 3, p.z > 0.0);
    }
    let at = vec2(dot(p, u), dot(p, v));
    let spread = select(0.5, 0.52, pips == 6);
    var nearest = vec2(9.0);
    if (pips & 1) == 1 {
        nearest = at;
    }
    if pips > 1 {
        let diagonal = vec2(spread) * select(-1.0, 1.0, at.x + at.y > 0.0);
        if length(at - diagonal) < length(nearest) {
            nearest = at - diagonal;
        }
    }
    if pips > 3 {
        let other = vec2(spread, -spread) * select(-1.0, 1.0, at.x - at.y > 0.0);
        if length(at - other) < length(nearest) {
            nearest = at - other;
        }
    }
    if pips == 6 {
        let middle = vec2(select(-spread, spread, at.x > 0.0), 0.0);
        if length(at - middle) < length(nearest) {
            nearest = at - middle;
        }
    }
    let radius = object.second.w;
    let distance = length(nearest);
    // Constant in place of a derivative, which is undefined after these branches.
    let pixel = 0.05;
    let coverage = 1.0 - smoothstep(radius - pixel, radius + pixel, distance);
    let slope = -0.5 * coverage * distance / max(radius, 1e-3);
    let away = nearest / max(distance, 1e-4);
    return Pip(coverage, (u * away.x + v * away.y) * slope);
}

@fragment
fn object_fragment(in: Varying) -> @location(0) vec4<f32> {
    let object = objects[in.instance];
    var normal = normalize(in.normal);
    let streaks = noise(in.local * 260.0 + f32(in.instance) * 17.0) * 0.65 + noise(in.local * 700.0) * 0.35;
    let second = smoothstep(0.42, 0.6, streaks) * object.body.w;
    var albedo = mix(object.body.rgb, object.second.rgb, second);
    // Light that crosses the body is tinted by it and leaves mostly near the ground.
    let low = 1.0 - clamp(in.world.z / (2.0 * object.half_extents.z), 0.0, 1.0);
    let through = object.material.z * (0.35 + 0.65 * low);
    albedo = mix(albedo, sqrt(albedo) * scene.ground_colour.rgb, through * 0.6);
    var gloss = object.material.y;
    if object.pips.w > 0.5 {
        let found = pip(object, in.local);
        albedo = mix(albedo, object.pips.rgb, found.coverage);
        normal = normalize(normal + (object.world_from_local * vec4(found.tilt, 0.0)).xyz);
        gloss *= 1.0 - 0.5 * found.coverage;
    }
    return vec4(shade(in.world, normal, albedo, object.material.x, gloss, in.instance), 1.0);
}

@fragment
fn ground_fragment(in: Varying) -> @location(0) vec4<f32> {
    let at = vec3(in.world.xy * scene.ground_texture.y, scene.ground_texture.z);
    let creases = noise(at * vec3(1.0, 0.35, 1.0)) - 0.5;
    let weave = noise(at * 9.0) - 0.5;
    let albedo = scene.ground_colour.rgb * (1.0 + scene.ground_texture.x * (creases + 0.35 * weave));
    let gloss = 1.0 - scene.ground_texture.w;
    return vec4(shade(in.world, normalize(in.normal), albedo, scene.ground_texture.w, gloss, 0xffffffffu), 1.0);
}

// Linear radiance of the pixels of one class, from the samples of the geometry pass.
//
// A software adapter runs all of a shader for every pixel that it does not leave out whole, so
// that each class of pixels has a pipeline of its own; the depth test leaves out the others.
@group(1) @binding(0) var samples: texture_2d<u32>;
@group(1) @binding(1) var sample_depths: texture_depth_2d;
@group(1) @binding(2) var shadow_maps: texture_depth_2d_array;
@group(1) @binding(3) var shadow_sampler: sampler_comparison;
@group(1) @binding(4) var environment_map: texture_2d<f32>;
@group(1) @binding(5) var environment_sampler: sampler;
// For each tile the place and the number of its occluders in the list.
@group(1) @binding(6) var<storage, read> tiles: array<vec2<u32>>;
// Middle and radius of the ball that stands for each.
@group(1) @binding(8) var<storage, read> occluders: array<vec4<f32>>;
@group(1) @binding(7) var depth_sampler: sampler;
// What is seen where no object is.
@group(1) @binding(9) var backdrop: texture_2d<f32>;

const TILE_PX = 32;
const SHADOW_SIDE_PX = 1024.0;
const PI = 3.14159265;
// Reflection of lacquer, plastic or glass at a right angle.
const LACQUER_F0 = 0.04;
const SEARCH_TAPS = 4;

// The class of the pixels that are shaded.
override CLASS: u32 = EDGE;

// Lights of the family's scenes; without any, the first is dark.
override LIGHTS: u32 = 4u;

// Whether any light of the scene is wide enough for soft shadows.
override SOFT: bool = true;

// Whether any surface of the family is lacquered or gives off light.
override FINISHED: bool = false;

// Whether any surface of the family shows a picture.
override TEXTURED: bool = false;

// Whether what is seen past the ground is a picture of its own.
override BACKDROP: bool = false;

@vertex
fn vertex(@builtin(vertex_index) index: u32) -> @builtin(position) vec4<f32> {
    return whole_image(index, class_depth(CLASS));
}

// Radiance from a direction over the lobe of a mirror of this roughness. Texels lie on the
// edges of the octahedron's square, so that its seams are smooth.
fn environment(direction: vec3<f32>, roughness: f32) -> vec3<f32> {
    let at = to_square(direction) * 0.5 + 0.5;
    let level = round(roughness * f32(scene.counts.z - 1u));
    let side = exp2(6.0 - level);
    let uv = (at * (side - 1.0) + 0.5) / side;
    return textureSampleLevel(environment_map, environment_sampler, uv, level).rgb;
}

// Radiance of a white diffuse surface in the environment (Ramamoorthi and Hanrahan 2001).
fn ambient(n: vec3<f32>) -> vec3<f32> {
    let sum = scene.irradiance[0] + scene.irradiance[1] * n.y + scene.irradiance[2] * n.z
        + scene.irradiance[3] * n.x + scene.irradiance[4] * (n.x * n.y) + scene.irradiance[5] * (n.y * n.z)
        + scene.irradiance[6] * (3.0 * n.z * n.z - 1.0) + scene.irradiance[7] * (n.x * n.z)
        + scene.irradiance[8] * (n.x * n.x - n.y * n.y);
    return max(sum.rgb, vec3(0.0));
}

// How much of the surroundings other objects leave, each taken as a ball.
fn openness(world: vec3<f32>, normal: vec3<f32>, own: u32, pixel: vec2<i32>) -> f32 {
    let tile = tiles[u32(pixel.y / TILE_PX) * scene.counts.y + u32(pixel.x / TILE_PX)];
    let middle = parts[own].occluder.xyz;
    var open = 1.0;
    for (var index = tile.x; index < tile.x + tile.y; index++) {
        let ball = occluders[index];
        let to = ball.xyz - world;
        let squared = dot(to, to);
        let share = ball.w * ball.w / squared;
        let facing = max(dot(normal, to) * inverseSqrt(squared), 0.0);
        // Falls to nothing at 2.8 radii, where the lists of the tiles end.
        let hidden = 0.65 * facing * max(min(share, 1.0) - 0.1276, 0.0) * 1.146;
        open *= 1.0 - select(hidden, 0.0, all(ball.xyz == middle));
    }
    return open;
}

fn light_distance(light: Light, depth: f32) -> f32 {
    return select(light.shadow.y / (depth - light.shadow.x), depth * light.shadow.x, light.place.w == 0.0);
}

// The share of a light that arrives. Shadows are as soft as the light is wide and their
// caster far (Fernando 2005).
fn lit(number: u32, world: vec3<f32>, normal: vec3<f32>) -> f32 {
    let light = scene.lights[number];
    let is_far = light.place.w == 0.0;
    let texel = light.shadow.w * select(distance(light.place.xyz, world), 1.0, is_far);
    let clip = light.light_from_world * vec4(world + normal * (1.5 * texel), 1.0);
    let at = clip.xyz / clip.w;
    let uv = at.xy * vec2(0.5, -0.5) + 0.5;
    let inside = clip.w > 0.0 && all(uv > vec2(0.0)) && all(uv < vec2(1.0)) && at.z > 0.0 && at.z < 1.0;
    let receiver = light_distance(light, at.z);
    // Half the width of what a caster at the light's near plane would blur.
    let near = light_distance(light, 0.0);
    let wide = light.colour.w * light.shadow.z;
    let search = select(wide * (receiver - near) / (near * receiver), wide * receiver, is_far);
    let reach = clamp(search, 1.0 / SHADOW_SIDE_PX, 0.05);
    // A little nearer, in even steps of distance: clip space has few far from a near light.
    let depth = select(light.shadow.x + light.shadow.y / (receiver * 0.997), at.z - 0.001, is_far);
    // A sharp light has no taps here.
    var blockers = 0.0;
    var sum = 0.0;
    let search_taps = select(0, i32(light.cone.z), SOFT && inside);
    for (var tap = 0; tap < search_taps; tap++) {
        let depths = textureGather(shadow_maps, depth_sampler, uv + reach * scene.discs[tap].xy, number);
        let blocks = select(vec4(0.0), vec4(1.0), depths < vec4(depth));
        blockers += dot(blocks, vec4(1.0));
        sum += dot(blocks, select(light.shadow.y / (depths - light.shadow.x), depths * light.shadow.x, vec4(is_far)));
    }
    let is_sharp = !SOFT || light.cone.z == 0.0;
    let blocker = sum / max(blockers, 1.0);
    let gap = select(max(receiver - blocker, 0.0), 0.0, is_sharp);
    let blur = select(wide * gap / max(blocker * receiver, 1e-6), wide * gap, is_far);
    let width = clamp(blur, 0.8 / SHADOW_SIDE_PX, 0.05);
    let may_hide = inside && (is_sharp || blockers > 0.0);
    let taps = select(SEARCH_TAPS, select(0, i32(light.cone.w), may_hide), SOFT);
    let first_tap = select(SEARCH_TAPS, 0, is_sharp);
    var open = 0.0;
    for (var tap = 0; tap < taps; tap++) {
        let tap_at = uv + width * scene.discs[first_tap + tap].xy;
        // Between four texels, weighted by nearness.
        let near_texels = textureGatherCompare(shadow_maps, shadow_sampler, tap_at, number, depth);
        let share = fract(tap_at * SHADOW_SIDE_PX - 0.5);
        let rows = mix(near_texels.wx, near_texels.zy, share.x);
        open += mix(rows.x, rows.y, share.y);
    }
    return select(1.0, open / f32(max(taps, 1)), may_hide);
}

// The specular albedo of a rough dielectric or metal for even light: scale and offset of
// its reflectance at normal incidence (Karis 2013, "Physically based shading on mobile").
fn specular_albedo(f0: vec3<f32>, roughness: f32, nv: f32) -> vec3<f32> {
    let r = roughness * vec4(-1.0, -0.0275, -0.572, 0.022) + vec4(1.0, 0.0425, 1.04, -0.04);
    let a = min(r.x * r.x, exp2(-9.28 * nv)) * r.x + r.y;
    let scale = vec2(-1.04, 1.04) * a + r.zw;
    return clamp(f0 * scale.x + scale.y * min(f0 * 25.0, vec3(1.0)), vec3(0.0), vec3(1.0));
}

// GGX with Smith's height-correlated visibility (Walter et al. 2007; Heitz 2014) times
// Schlick's Fresnel and the cosine, for a light of this width (Karis 2013).
fn specular(f0: vec3<f32>, normal: vec3<f32>, view: vec3<f32>, light: vec3<f32>, roughness: f32, wide: f32) -> vec3<f32> {
    let h = normalize(view + light);
    let alpha = max(roughness * roughness, 0.002);
    let a2 = alpha * alpha;
    let wider = min(alpha + wide * 0.5, 1.0);
    let w2 = wider * wider;
    let nh = max(dot(normal, h), 0.0);
    let nv = max(dot(normal, view), 1e-3);
    let nl = max(dot(normal, light), 0.0);
    let d = nh * nh * (w2 - 1.0) + 1.0;
    let distribution = w2 / (PI * d * d);
    let visibility = 0.5 / (nl * sqrt(nv * nv * (1.0 - a2) + a2) + nv * sqrt(nl * nl * (1.0 - a2) + a2) + 1e-6);
    let m = 1.0 - max(dot(view, h), 0.0);
    let m2 = m * m;
    let fresnel = f0 + (min(f0 * 25.0, vec3(1.0)) - f0) * (m2 * m2 * m);
    return distribution * visibility * nl * fresnel;
}

struct Surface {
    albedo: vec3<f32>,
    normal: vec3<f32>,
    roughness: f32,
    gloss: f32,
    metallic: f32,
    // Share under lacquer, the lacquer's roughness, and what of all light it reflects.
    coat: f32,
    coat_roughness: f32,
    coat_mirrored: f32,
    emission: vec3<f32>,
}

// What arrives from one light if nothing stands between.
struct Arriving {
    // Radiance of a white surface that faces it.
    colour: vec3<f32>,
    towards: vec3<f32>,
    // The tangent of half its angular diameter.
    wide: f32,
}

// A number that the compiler knows lets it read the light's values once for all pixels.
fn arriving_from(number: u32, world: vec3<f32>) -> Arriving {
    let light = &scene.lights[number];
    let place = (*light).place;
    let axis = (*light).axis;
    let cone = (*light).cone;
    let is_near = place.w == 1.0;
    let between = place.xyz - select(vec3(0.0), world, is_near);
    let squared = max(dot(between, between), 1e-12);
    let towards = between * inverseSqrt(squared);
    let along = -dot(towards, axis.xyz);
    let spot = smoothstep(cone.x, cone.y, along);
    let shape = select(select(1.0, spot, axis.w == 1.0), max(along, 0.0), axis.w == 2.0);
    let wide = (*light).colour.w * select(1.0, inverseSqrt(squared), is_near);
    let colour = (*light).colour.rgb * shape * select(1.0, 1.0 / squared, is_near);
    return Arriving(colour, towards, wide);
}

// What a surface reflects of one light.
fn from_light(number: u32, surface: Surface, f0: vec3<f32>, diffuse: vec3<f32>, view: vec3<f32>, world: vec3<f32>) -> vec3<f32> {
    let light = arriving_from(number, world);
    let towards = light.towards;
    let wide = light.wide;
    let arriving = light.colour;
    let cosine = max(dot(surface.normal, towards), 0.0);
    let open = lit(number, world, surface.normal);
    // Intensities are radiances of a white surface, irradiance over pi.
    var shine = PI * specular(f0, surface.normal, view, towards, surface.roughness, wide);
    if FINISHED {
        // What the lacquer reflects does not reach the surface below.
        let lacquer = PI * specular(vec3(LACQUER_F0), surface.normal, view, towards, surface.coat_roughness, wide);
        let kept = 1.0 - surface.coat * surface.coat_mirrored;
        return open * arriving * (kept * (diffuse * cosine + shine) + surface.coat * lacquer);
    }
    return open * arriving * (diffuse * cosine + shine);
}

// The share of the light on a white surface that other objects leave.
fn unshadowed(world: vec3<f32>, normal: vec3<f32>, pixel: vec2<i32>) -> vec3<f32> {
    let all_around = ambient(normal);
    var left = openness(world, normal, 0u, pixel) * all_around;
    var all = all_around;
    for (var number = 0u; number < LIGHTS; number++) {
        let light = arriving_from(number, world);
        let reflected = light.colour * max(dot(normal, light.towards), 0.0);
        left += lit(number, world, normal) * reflected;
        all += reflected;
    }
    return left / max(all, vec3(1e-9));
}

fn radiance_of(surface: Surface, world: vec3<f32>, own: u32, pixel: vec2<i32>) -> vec3<f32> {
    let view = normalize(scene.camera_position.xyz - world);
    let normal = surface.normal;
    let nv = max(dot(normal, view), 1e-3);
    let f0 = mix(vec3(LACQUER_F0 * surface.gloss), surface.albedo, surface.metallic);
    let mirrored = specular_albedo(f0, surface.roughness, nv);
    let diffuse = surface.albedo * (1.0 - surface.metallic) * (1.0 - mirrored);
    let open = openness(world, normal, own, pixel);
    let mirror = reflect(-view, normal);
    let reflected = environment(mirror, surface.roughness);
    var colour = open * (diffuse * ambient(normal) + mirrored * reflected);
    if FINISHED {
        let lacquer = surface.coat * surface.coat_mirrored;
        colour = mix(colour, open * environment(mirror, surface.coat_roughness), lacquer) + surface.emission;
    }
    colour += from_light(0u, surface, f0, diffuse, view, world);
    if LIGHTS > 1u {
        colour += from_light(1u, surface, f0, diffuse, view, world);
    }
    if LIGHTS > 2u {
        colour += from_light(2u, surface, f0, diffuse, view, world);
    }
    if LIGHTS > 3u {
        colour += from_light(3u, surface, f0, diffuse, view, world);
    }
    return colour;
}

// The side of a pixel on a surface, in metres: the mean of its two sides, since it is long where
// the surface is seen at a small angle.
fn pixel_on(world: vec3<f32>, normal: vec3<f32>) -> f32 {
    let between = scene.camera_position.xyz - world;
    let distance = length(between);
    let cosine = max(abs(dot(normal, between)) / distance, 1.0 / 16.0);
    let at_one_metre = 2.0 * length(scene.camera_up.xyz) / f32(scene.image.y);
    return distance * at_one_metre * inverseSqrt(cosine);
}

fn surface_of(number: u32, world: vec3<f32>, geometric: vec3<f32>, uv: vec2<u32>) -> Surface {
    let part = &parts[number];
    let material = (*part).material;
    var surface = Surface((*part).body.rgb, geometric, material.x, material.y, material.w, 0.0, 1.0, 0.0, vec3(0.0));
    if FINISHED && CLASS != GROUND {
        let coat = (*part).coat;
        let view = normalize(scene.camera_position.xyz - world);
        surface.coat = coat.x;
        surface.coat_roughness = coat.y;
        surface.coat_mirrored = specular_albedo(vec3(LACQUER_F0), coat.y, max(dot(geometric, view), 1e-3)).x;
        surface.emission = (*part).emission.rgb;
    }
    if CLASS == GROUND || CLASS == EDGE {
        let at = vec3(world.xy * scene.ground_texture.y, scene.ground_texture.z);
        let creases = noise(at * vec3(1.0, 0.35, 1.0)) - 0.5;
        let weave = noise(at * 9.0) - 0.5;
        let strength = select(scene.ground_texture.x, 0.0, number > 0u);
        if TEXTURED && number == 0u {
            surface.albedo = covered(0u, surface.albedo, world, geometric, uv, pixel_on(world, geometric));
        }
        surface.albedo *= 1.0 + strength * (creases + 0.35 * weave);
    }
    if CLASS == GROUND {
        return surface;
    }
    let half = (*part).half_extents;
    // Light that crosses the body is tinted by it and leaves mostly near the ground.
    let low = 1.0 - clamp(world.z / (2.0 * half.z * half.w), 0.0, 1.0);
    let through = material.z * (0.35 + 0.65 * low);
    if CLASS == PATTERNED || CLASS == EDGE {
        let local = ((*part).local_from_world * vec4(world, 1.0)).xyz;
        let marbling = (*part).body.w;
        let second = (*part).second;
        let pips = (*part).pips;
        let at = local * half.w;
        let streaks = noise(at * 260.0 + f32(number) * 17.0) * 0.65 + noise(at * 700.0) * 0.35;
        surface.albedo = mix(surface.albedo, second.rgb, smoothstep(0.42, 0.6, streaks) * marbling);
        if TEXTURED && number > 0u {
            // Without its length; normals go with the inverse transpose.
            let own = (vec4(geometric, 0.0) * (*part).world_from_local).xyz;
            surface.albedo = covered(number, surface.albedo, local, own, uv, pixel_on(world, geometric));
            surface.emission *= select(vec3(1.0), surface.albedo, (*part).texture.w > 0.0);
        }
        surface.albedo = mix(surface.albedo, sqrt(surface.albedo) * parts[0].second.rgb, through * 0.6);
        let found = pip(local / half.x, second.w);
        let is_pip = select(0.0, found.coverage, pips.w == 2.0);
        surface.albedo = mix(surface.albedo, pips.rgb, is_pip);
        let tilt = vec4(found.tilt, 0.0) * (*part).local_from_world;
        surface.normal = select(geometric, normalize(geometric + tilt.xyz / half.w), pips.w == 2.0);
        surface.gloss *= 1.0 - 0.5 * is_pip;
    } else {
        surface.albedo = mix(surface.albedo, sqrt(surface.albedo) * parts[0].second.rgb, through * 0.6);
    }
    return surface;
}

// The direction through a point of the image, 1 along the line of sight.
fn ray(at: vec2<f32>) -> vec3<f32> {
    let shift = vec2(scene.camera_right.w, -scene.camera_up.w);
    let centred = at / vec2<f32>(scene.image.xy) * 2.0 - 1.0 + shift;
    return scene.camera_forward.xyz + scene.camera_right.xyz * centred.x - scene.camera_up.xyz * centred.y;
}

fn shade(place: vec2<f32>, stored: f32, found: vec4<u32>, pixel: vec2<i32>) -> vec3<f32> {
    let direction = ray(place);
    if BACKDROP && (CLASS == SKY || (CLASS == EDGE && found.x == 0u)) {
        return textureLoad(backdrop, pixel, 0).rgb;
    }
    if CLASS == SKY || (CLASS == EDGE && found.x == 0u) {
        return environment(normalize(direction), 0.0);
    }
    let world = scene.camera_position.xyz + direction * distance_of(stored);
    var number = found.x - 1u;
    if CLASS == GROUND {
        number = 0u;
    }
    let normal = from_square(unpack2x16snorm(found.y));
    if CATCHER && (CLASS == GROUND || (CLASS == EDGE && number == 0u)) {
        return textureLoad(backdrop, pixel, 0).rgb * unshadowed(world, normal, pixel);
    }
    let surface = surface_of(number, world, normal, found.zw);
    return radiance_of(surface, world, number, pixel);
}

@fragment
fn fragment(@builtin(position) position: vec4<f32>) -> @location(0) vec4<f32> {
    let pixel = vec2<i32>(position.xy);
    let across = i32(scene.image.w);
    let first = pixel * across;
    if CLASS != EDGE {
        // All samples show one surface, whose depth is even enough for their mean.
        var stored = textureLoad(sample_depths, first, 0);
        if SMOOTH {
            stored += textureLoad(sample_depths, first + vec2(1, 0), 0);
            stored += textureLoad(sample_depths, first + vec2(0, 1), 0);
            stored += textureLoad(sample_depths, first + vec2(1, 1), 0);
            stored *= 0.25;
        }
        let found = textureLoad(samples, first, 0);
        return vec4(shade(position.xy, stored, found, pixel), 1.0);
    }
    var colour = vec3(0.0);
    for (var k = 0; k < 4; k++) {
        let at = first + vec2(k & 1, k >> 1u);
        let place = (vec2<f32>(at) + 0.5) * 0.5;
        colour += shade(place, textureLoad(sample_depths, at, 0), textureLoad(samples, at, 0), pixel);
    }
    return vec4(colour * 0.25, 1.0);
}

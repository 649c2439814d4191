// Patterns of surfaces.
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

struct Pip {
    coverage: f32,
    // Tilt of the dimple's wall in the die's space.
    tilt: vec3<f32>,
}

// The pip at a point of the surface of a die that reaches from -1 to 1; layouts are the
// usual ones.
fn pip(p: vec3<f32>, radius: f32) -> Pip {
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
    let distance = length(nearest);
    // Constant in place of a derivative, which is undefined after these branches.
    let pixel = 0.05;
    let coverage = 1.0 - smoothstep(radius - pixel, radius + pixel, distance);
    let slope = -0.5 * coverage * distance / max(radius, 1e-3);
    let away = nearest / max(distance, 1e-4);
    return Pip(coverage, (u * away.x + v * away.y) * slope);
}

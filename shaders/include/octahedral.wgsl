// Unit vectors on the square -1..1, by unfolding an octahedron (Cigolle et al. 2014).
fn to_square(direction: vec3<f32>) -> vec2<f32> {
    let flat = direction.xy / (abs(direction.x) + abs(direction.y) + abs(direction.z));
    let folded = (1.0 - abs(flat.yx)) * select(vec2(-1.0), vec2(1.0), flat >= vec2(0.0));
    return select(flat, folded, direction.z < 0.0);
}

fn from_square(at: vec2<f32>) -> vec3<f32> {
    let up = 1.0 - abs(at.x) - abs(at.y);
    let below = max(-up, 0.0);
    let flat = at + select(vec2(below), vec2(-below), at >= vec2(0.0));
    return normalize(vec3(flat, up));
}

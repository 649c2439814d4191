// Where in the image that is drawn each point of the picture comes from: a grid over the
// picture, whose corners hold places in pixels.
struct Warp {
    // Corners a row and a column.
    corners: vec2<u32>,
    // Cells a pixel, along each axis.
    density: vec2<f32>,
    // Share of this frame in the picture; 0 for the first frame, else 1; unused.
    weight: vec4<f32>,
}

@group(1) @binding(2) var<storage, read> origins: array<vec2<f32>>;
@group(1) @binding(3) var<uniform> warp: Warp;

struct Origin {
    place: vec2<f32>,
    // Pixels of the image that is drawn that one of the picture covers along each axis.
    spread: vec2<f32>,
}

fn origin(at: vec2<f32>) -> Origin {
    let placed = at * warp.density;
    let cell = clamp(floor(placed), vec2(0.0), vec2<f32>(warp.corners - 2u));
    let share = placed - cell;
    let first = u32(cell.y) * warp.corners.x + u32(cell.x);
    let a = origins[first];
    let b = origins[first + 1u];
    let c = origins[first + warp.corners.x];
    let d = origins[first + warp.corners.x + 1u];
    let across = abs(mix(b - a, d - c, share.y)) * warp.density.x;
    let down = abs(mix(c - a, d - b, share.x)) * warp.density.y;
    return Origin(mix(mix(a, b, share.x), mix(c, d, share.x), share.y), max(across, down));
}

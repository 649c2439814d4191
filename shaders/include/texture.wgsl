// Pictures on surfaces.
struct Decal {
    // To the picture's plane, whose edges lie at -1 and 1; z is 1 along its side's normal.
    decal_from_local: mat4x4<f32>,
    // Factor on the picture's colours; w is the number of its layer.
    tint: vec4<f32>,
    // Halves of the share of the layer that the picture takes; what a metre of the part's space
    // takes of the layer; unused.
    filled: vec4<f32>,
}

@group(1) @binding(10) var textures: texture_2d_array<f32>;
@group(1) @binding(11) var texture_sampler: sampler;
@group(1) @binding(12) var<storage, read> decals: array<Decal>;

// Linear colour times alpha, and alpha, around a point of a layer. `footprint` is the side of
// what is averaged, over the layer's side.
fn texel(layer: u32, uv: vec2<f32>, footprint: f32) -> vec4<f32> {
    let side = f32(textureDimensions(textures).x);
    let level = log2(max(footprint * side, 1.0));
    return textureSampleLevel(textures, texture_sampler, uv, layer, level);
}

// Where a point is on the plane along the axes that a normal faces, to the right and up.
fn on_facing_plane(at: vec3<f32>, normal: vec3<f32>) -> vec2<f32> {
    let size = abs(normal);
    let turn = select(vec3(1.0), vec3(-1.0), normal < vec3(0.0));
    let across = select(-at.x * turn.y, at.y * turn.x, size.x >= size.y);
    let is_level = size.z >= size.x && size.z >= size.y;
    return select(vec2(across, at.z), vec2(at.x, at.y * turn.z), is_level);
}

// A surface's colour under the part's texture and decals. `uv` holds the packed texture
// coordinates and their footprint; `world_px` is the side of a pixel on the surface in metres.
fn covered(number: u32, body: vec3<f32>, local: vec3<f32>, normal: vec3<f32>, uv: vec2<u32>, world_px: f32) -> vec3<f32> {
    let part = &parts[number];
    let scale = (*part).half_extents.w;
    let texture = (*part).texture;
    var colour = body;
    if texture.w > 0.0 {
        var at = unpack2x16unorm(uv.x);
        var footprint = bitcast<f32>(uv.y);
        let tiles = (*part).tiles;
        if any(tiles.xy != vec2(0.0)) {
            let plane = on_facing_plane(local * scale, normal);
            let turned = vec2(tiles.x * plane.x - tiles.y * plane.y, tiles.y * plane.x + tiles.x * plane.y);
            at = vec2(turned.x, -turned.y) + tiles.zw;
            footprint = world_px * length(tiles.xy);
        }
        let found = texel(u32(texture.w) - 1u, at, footprint);
        colour = found.rgb * texture.rgb + (1.0 - found.a) * body;
    }
    let first = (*part).owner.y;
    for (var index = first; index < first + (*part).owner.z; index++) {
        let decal = decals[index];
        let at = (decal.decal_from_local * vec4(local, 1.0)).xy;
        let out = vec3(decal.decal_from_local[0].z, decal.decal_from_local[1].z, decal.decal_from_local[2].z);
        if all(abs(at) < vec2(1.0)) && dot(out, normal) > 0.0 {
            let place = 0.5 + at * vec2(1.0, -1.0) * decal.filled.xy;
            let found = texel(u32(decal.tint.w), place, world_px / scale * decal.filled.z);
            colour = found.rgb * decal.tint.rgb + (1.0 - found.a) * colour;
        }
    }
    return colour;
}

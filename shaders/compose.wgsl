// Takes away and adds to the picture what light loses and gains in media.
@group(1) @binding(0) var absorption: texture_2d<f32>;
@group(1) @binding(1) var glow: texture_2d<f32>;

// Whether light is added, or else taken away.
override ADDS: bool = false;

@vertex
fn vertex(@builtin(vertex_index) index: u32) -> @builtin(position) vec4<f32> {
    return whole_image(index, 0.0);
}

@fragment
fn fragment(@builtin(position) position: vec4<f32>) -> @location(0) vec4<f32> {
    let across = i32(scene.image.w);
    let first = vec2<i32>(position.xy) * across;
    var sum = vec3(0.0);
    for (var y = 0; y < across; y++) {
        for (var x = 0; x < across; x++) {
            let at = first + vec2(x, y);
            if ADDS {
                sum += max(textureLoad(glow, at, 0).rgb, vec3(0.0));
            } else {
                sum += exp(-max(textureLoad(absorption, at, 0).rgb, vec3(0.0)));
            }
        }
    }
    return vec4(sum / f32(across * across), 1.0);
}

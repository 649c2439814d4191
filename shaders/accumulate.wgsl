// Adds one frame to the picture's radiance, taken from where the lens bends it from.
@group(1) @binding(0) var radiance: texture_2d<f32>;
@group(1) @binding(1) var before: texture_2d<f32>;
@group(1) @binding(4) var radiance_sampler: sampler;

// Most samples along each axis where the lens draws things smaller than a pinhole.
const MOST_TAPS = 8.0;

// Whether the lens bends the image at all.
override WARPED: bool = true;

@vertex
fn vertex(@builtin(vertex_index) index: u32) -> @builtin(position) vec4<f32> {
    return whole_image(index, 0.0);
}

@fragment
fn fragment(@builtin(position) position: vec4<f32>) -> @location(0) vec4<f32> {
    let pixel = vec2<i32>(position.xy);
    var found = vec3(0.0);
    if WARPED {
        let size = vec2<f32>(textureDimensions(radiance));
        // A neighbourly mean covers two pixels.
        let taps = clamp(ceil(origin(position.xy).spread - 0.1), vec2(1.0), vec2(MOST_TAPS));
        for (var y = 0.0; y < taps.y; y += 1.0) {
            for (var x = 0.0; x < taps.x; x += 1.0) {
                let within = (vec2(x, y) + 0.5) / taps - 0.5;
                let place = origin(position.xy + within).place;
                found += textureSampleLevel(radiance, radiance_sampler, place / size, 0.0).rgb;
            }
        }
        found /= taps.x * taps.y;
    } else {
        found = textureLoad(radiance, pixel, 0).rgb;
    }
    let sum = select(vec3(0.0), textureLoad(before, pixel, 0).rgb, warp.weight.y > 0.0);
    return vec4(sum + warp.weight.x * found, 1.0);
}

// Lens blur, vignetting, exposure, noise and the transfer curve.
@group(1) @binding(0) var radiance: texture_2d<f32>;

@vertex
fn vertex(@builtin(vertex_index) index: u32) -> @builtin(position) vec4<f32> {
    let corner = vec2(f32((index << 1u) & 2u), f32(index & 2u));
    return vec4(corner * 2.0 - 1.0, 0.0, 1.0);
}

fn mixed(value: u32) -> u32 {
    var h = value;
    h = (h ^ (h >> 16u)) * 0x7feb352du;
    h = (h ^ (h >> 15u)) * 0x846ca68bu;
    return h ^ (h >> 16u);
}

// Nearly normal, of unit variance: the sum of four uniform draws.
fn normal_draw(key: u32) -> f32 {
    let a = mixed(key);
    let b = mixed(a ^ 0x68bc21ebu);
    let sum = f32(a & 0xffffu) + f32(a >> 16u) + f32(b & 0xffffu) + f32(b >> 16u);
    return (sum / 65535.0 - 2.0) * 1.7320508;
}

// The sRGB transfer curve (IEC 61966-2-1).
fn encoded(linear: vec3<f32>) -> vec3<f32> {
    let c = clamp(linear, vec3(0.0), vec3(1.0));
    return select(1.055 * pow(c, vec3(1.0 / 2.4)) - 0.055, 12.92 * c, c <= vec3(0.0031308));
}

// Leaves dark and middle tones alone and rolls off what is brighter than 0.7.
fn shoulder(value: vec3<f32>) -> vec3<f32> {
    let over = max(value - 0.7, vec3(0.0));
    return min(value, vec3(0.7)) + 0.3 * (1.0 - exp(-over / 0.3));
}

// The weights of one axis sum to 1.
fn blur_weight(offset: i32) -> f32 {
    let at = abs(offset);
    return scene.blur[at >> 2u][at & 3];
}

@fragment
fn fragment(@builtin(position) position: vec4<f32>) -> @location(0) vec4<f32> {
    // That of the picture, which may be taken from a larger one.
    let size = vec2<i32>(textureDimensions(radiance));
    let pixel = vec2<i32>(position.xy);
    let reach = i32(scene.sensor.y);
    var sum = vec3(0.0);
    for (var y = -reach; y <= reach; y++) {
        var row = vec3(0.0);
        for (var x = -reach; x <= reach; x++) {
            row += blur_weight(x) * textureLoad(radiance, clamp(pixel + vec2(x, y), vec2(0), size - 1), 0).rgb;
        }
        sum += blur_weight(y) * row;
    }
    let centred = (position.xy / vec2<f32>(size) - 0.5) * 2.0;
    let falloff = 1.0 - scene.sensor.z * dot(centred, centred) * 0.5;
    let is_grey = scene.counts.x > 0u;
    sum = select(sum, vec3(dot(sum, vec3(0.2126, 0.7152, 0.0722))), is_grey);
    var colour = encoded(shoulder(sum * falloff * scene.sensor.x));
    let key = mixed(u32(pixel.y * size.x + pixel.x) ^ scene.image.z);
    let grain = vec3(normal_draw(key), normal_draw(key + 1u), normal_draw(key + 2u));
    colour += scene.sensor.w * select(grain * 0.5 + grain.g * 0.6, grain.ggg, is_grey);
    return vec4(colour, 1.0);
}

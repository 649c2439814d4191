//! Sixteen rays at a time against a hierarchy of boxes.
//!
//! The rays of a packet visit the same boxes and triangles together (Wald et al. 2001,
//! "Interactive rendering with coherent ray tracing"). Loops over the rays are plain, so that
//! the compiler turns them into vector instructions; AVX2 is taken where the machine has it.
//! Neither form fuses multiplications with additions, so that both give the same bits.

use glam::Vec3;
use obvhs::{BvhBuildParams, bvh2::builder::build_bvh2_from_tris, triangle::Triangle};

/// Rays of one packet.
pub(super) const LANES: usize = 16;

/// How far beyond its edges a triangle still stops a ray, as a share of it, so that none slips
/// through between neighbours.
const EDGE_SLACK: f32 = 1e-5;

/// Depth of the hierarchy, at most; a deeper branch is not searched to its end.
const MAX_STACK: usize = 128;

/// One number a ray.
pub(super) type Lane = [f32; LANES];

/// A box around either two further nodes or a run of triangles.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
struct Node {
    low: [f32; 3],
    /// The first of its two nodes, or its first triangle.
    first: u32,
    high: [f32; 3],
    /// How many triangles it holds; none where it holds nodes.
    count: u32,
}

/// A triangle as the intersection test reads it.
#[derive(Debug, Clone, Copy)]
struct Face {
    corner: [f32; 3],
    edges: [[f32; 3]; 2],
    number: u32,
}

/// Triangles that rays are traced against.
#[derive(Debug, Default)]
pub(super) struct Hierarchy {
    nodes: Vec<Node>,
    faces: Vec<Face>,
}

/// Rays with what they have met so far.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Packet {
    origin: [Lane; 3],
    direction: [Lane; 3],
    inverse: [Lane; 3],
    /// How far to search, and then how far off the nearest triangle is; negative for rays that
    /// are not traced.
    pub far: Lane,
    /// Barycentric coordinates of the second and the third corner.
    pub u: Lane,
    pub v: Lane,
    /// The triangle's number, or `NOTHING`.
    pub number: [u32; LANES],
}

/// The number of no triangle.
pub(super) const NOTHING: u32 = u32::MAX;

impl Default for Packet {
    fn default() -> Self {
        Packet {
            origin: [[0.0; LANES]; 3],
            direction: [[1.0; LANES]; 3],
            inverse: [[1.0; LANES]; 3],
            far: [-1.0; LANES],
            u: [0.0; LANES],
            v: [0.0; LANES],
            number: [NOTHING; LANES],
        }
    }
}

impl Packet {
    /// Sets one ray, with a direction of length 1 and a largest distance.
    #[inline(always)]
    pub(super) fn set(&mut self, lane: usize, origin: Vec3, direction: Vec3, far: f32) {
        let (from, along) = (origin.to_array(), direction.to_array());
        for axis in 0..3 {
            self.origin[axis][lane] = from[axis];
            self.direction[axis][lane] = along[axis];
            let safe = if along[axis].abs() < 1e-12 {
                1e-12_f32.copysign(along[axis])
            } else {
                along[axis]
            };
            self.inverse[axis][lane] = 1.0 / safe;
        }
        self.far[lane] = far;
        self.number[lane] = NOTHING;
    }

    #[inline(always)]
    fn enters(&self, node: &Node) -> bool {
        let (mut near, mut far) = ([0.0_f32; LANES], self.far);
        for axis in 0..3 {
            let (low, high) = (node.low[axis], node.high[axis]);
            let (origin, inverse) = (&self.origin[axis], &self.inverse[axis]);
            for lane in 0..LANES {
                let a = (low - origin[lane]) * inverse[lane];
                let b = (high - origin[lane]) * inverse[lane];
                near[lane] = most(near[lane], least(a, b));
                far[lane] = least(far[lane], most(a, b));
            }
        }
        let mut any = 0_u32;
        for lane in 0..LANES {
            any |= u32::from(near[lane] <= far[lane]);
        }
        any != 0
    }

    /// Notes what the rays that were `hit` met.
    #[inline(always)]
    fn keep(&mut self, hit: &[bool; LANES], [t, u, v]: [&Lane; 3], number: u32) {
        for lane in 0..LANES {
            let is_hit = hit[lane];
            self.far[lane] = if is_hit { t[lane] } else { self.far[lane] };
            self.u[lane] = if is_hit { u[lane] } else { self.u[lane] };
            self.v[lane] = if is_hit { v[lane] } else { self.v[lane] };
            self.number[lane] = if is_hit { number } else { self.number[lane] };
        }
    }

    /// Which rays a triangle stops before `far`, with distances and barycentric coordinates
    /// (Möller and Trumbore 1997).
    #[inline(always)]
    fn met(&self, face: &Face) -> ([bool; LANES], Lane, Lane, Lane, bool) {
        let [v0x, v0y, v0z] = face.corner;
        let [[ax, ay, az], [bx, by, bz]] = face.edges;
        let ([ox, oy, oz], [dx, dy, dz]) = (&self.origin, &self.direction);
        let (mut t, mut u, mut v) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
        let mut hit = [false; LANES];
        let mut any = false;
        for lane in 0..LANES {
            let (dx, dy, dz) = (dx[lane], dy[lane], dz[lane]);
            let (px, py, pz) = (dy * bz - dz * by, dz * bx - dx * bz, dx * by - dy * bx);
            let inverse = 1.0 / (ax * px + ay * py + az * pz);
            let (sx, sy, sz) = (ox[lane] - v0x, oy[lane] - v0y, oz[lane] - v0z);
            let second = (sx * px + sy * py + sz * pz) * inverse;
            let (qx, qy, qz) = (sy * az - sz * ay, sz * ax - sx * az, sx * ay - sy * ax);
            let third = (dx * qx + dy * qy + dz * qz) * inverse;
            let distance = (bx * qx + by * qy + bz * qz) * inverse;
            // False where the ray is parallel and numbers are infinite or undefined.
            let inside = (second >= -EDGE_SLACK)
                & (third >= -EDGE_SLACK)
                & (second + third <= 1.0 + EDGE_SLACK)
                & (distance > 0.0)
                & (distance < self.far[lane]);
            (t[lane], u[lane], v[lane]) = (distance, second, third);
            hit[lane] = inside;
            any |= inside;
        }
        (hit, t, u, v, any)
    }
}

/// As the vector instruction has it: the second where either is undefined.
#[inline(always)]
fn least(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

#[inline(always)]
fn most(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// Defines a function with a second form for AVX2, which is taken where the machine has it.
macro_rules! with_avx2 {
    ($(#[$meta:meta])* fn $name:ident($this:ident: &$kind:ty, $packet:ident: &mut Packet) $body:block) => {
        $(#[$meta])*
        pub(super) fn $name(&self, packet: &mut Packet) {
            #[inline(always)]
            fn plain($this: &$kind, $packet: &mut Packet) $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2")]
            fn avx2(this: &$kind, packet: &mut Packet) {
                plain(this, packet);
            }

            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") {
                // SAFETY: the machine has the one feature that the function enables.
                return unsafe { avx2(self, packet) };
            }
            plain(self, packet);
        }
    };
}

impl Hierarchy {
    /// A hierarchy over triangles, numbered in their order.
    pub(super) fn new(corners: &[[Vec3; 3]]) -> Self {
        if corners.is_empty() {
            return Hierarchy::default();
        }
        let triangles: Vec<Triangle> = corners
            .iter()
            .map(|[a, b, c]| Triangle {
                v0: (*a).into(),
                v1: (*b).into(),
                v2: (*c).into(),
            })
            .collect();
        let mut spent = std::time::Duration::ZERO;
        let built = build_bvh2_from_tris(&triangles, BvhBuildParams::medium_build(), &mut spent);
        let nodes = built.nodes.iter().map(|node| Node {
            low: node.aabb().min.to_array(),
            first: node.first_index,
            high: node.aabb().max.to_array(),
            count: node.prim_count,
        });
        let faces = built.primitive_indices.iter().map(|number| {
            let [a, b, c] = corners[*number as usize];
            Face {
                corner: a.to_array(),
                edges: [(b - a).to_array(), (c - a).to_array()],
                number: *number,
            }
        });
        Hierarchy {
            nodes: nodes.collect(),
            faces: faces.collect(),
        }
    }

    with_avx2! {
        /// Finds the nearest triangle of each ray.
        fn nearest(this: &Hierarchy, packet: &mut Packet) {
            let mut walk = Walk::new(packet);
            while let Some(faces) = walk.next(this, packet) {
                for face in faces {
                    let (hit, t, u, v, any) = packet.met(face);
                    if any {
                        packet.keep(&hit, [&t, &u, &v], face.number);
                    }
                }
            }
        }
    }

    with_avx2! {
        /// Makes `far` of each ray negative that any triangle stops.
        fn block(this: &Hierarchy, packet: &mut Packet) {
            let mut walk = Walk::new(packet);
            while let Some(faces) = walk.next(this, packet) {
                for face in faces {
                    let (hit, .., any) = packet.met(face);
                    if any {
                        packet.keep(&hit, [&[-1.0; LANES]; 3], face.number);
                    }
                }
            }
        }
    }

    /// Gives every triangle that a ray meets: the ray's lane, the distance and the number.
    pub(super) fn all(&self, packet: &mut Packet, mut take: impl FnMut(usize, f32, u32)) {
        let mut walk = Walk::new(packet);
        while let Some(faces) = walk.next(self, packet) {
            for face in faces {
                let (hit, t, .., any) = packet.met(face);
                for lane in (0..LANES).filter(|lane| any && hit[*lane]) {
                    take(lane, t[lane], face.number);
                }
            }
        }
    }
}

/// Goes through the boxes that any ray of a packet enters, nearer ones first.
struct Walk {
    stack: [u32; MAX_STACK],
    depth: usize,
    /// The sum of the rays' directions.
    along: [f32; 3],
}

impl Walk {
    #[inline(always)]
    fn new(packet: &Packet) -> Self {
        let mut along = [0.0; 3];
        for (sum, direction) in along.iter_mut().zip(&packet.direction) {
            for (far, step) in packet.far.iter().zip(direction) {
                *sum += if *far >= 0.0 { *step } else { 0.0 };
            }
        }
        Walk {
            stack: [0; MAX_STACK],
            depth: 1,
            along,
        }
    }

    /// The next box of triangles.
    #[inline(always)]
    fn next<'a>(&mut self, hierarchy: &'a Hierarchy, packet: &Packet) -> Option<&'a [Face]> {
        while self.depth > 0 {
            self.depth -= 1;
            let Some(node) = hierarchy.nodes.get(self.stack[self.depth] as usize) else {
                continue;
            };
            if !packet.enters(node) {
                continue;
            }
            let first = node.first as usize;
            if node.count > 0 {
                return Some(&hierarchy.faces[first..first + node.count as usize]);
            }
            if self.depth + 2 <= MAX_STACK {
                let pair = &hierarchy.nodes[first..first + 2];
                let mut ahead = 0.0;
                for (axis, along) in self.along.iter().enumerate() {
                    let [before, after] = [0, 1].map(|n| pair[n].low[axis] + pair[n].high[axis]);
                    ahead += along * (after - before);
                }
                let nearer = u32::from(ahead < 0.0);
                self.stack[self.depth] = node.first + 1 - nearer;
                self.stack[self.depth + 1] = node.first + nearer;
                self.depth += 2;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers in 0..1 that look random.
    fn numbers() -> impl FnMut() -> f32 {
        let mut state = 1_u32;
        move || {
            state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
            (state >> 8) as f32 / 16_777_216.0
        }
    }

    fn soup(count: usize) -> Vec<[Vec3; 3]> {
        let mut next = numbers();
        let mut point = || Vec3::new(next(), next(), next());
        (0..count)
            .map(|_| {
                let middle = point();
                [0; 3].map(|_| middle + 0.1 * (point() - 0.5))
            })
            .collect()
    }

    /// The nearest triangle by trying all.
    fn slow(corners: &[[Vec3; 3]], origin: Vec3, direction: Vec3, far: f32) -> Option<(u32, f32)> {
        let mut best: Option<(u32, f32)> = None;
        for (number, [a, b, c]) in (0..).zip(corners) {
            let (ab, ac) = (*b - *a, *c - *a);
            let normal = ab.cross(ac);
            let t = (*a - origin).dot(normal) / direction.dot(normal);
            let at = origin + direction * t;
            let inside = [(*a, *b), (*b, *c), (*c, *a)]
                .iter()
                .all(|(from, to)| (*to - *from).cross(at - *from).dot(normal) >= 0.0);
            if inside && t > 0.0 && t < best.map_or(far, |(_, nearest)| nearest) {
                best = Some((number, t));
            }
        }
        best
    }

    #[test]
    fn packets_find_what_trying_all_triangles_finds() {
        let corners = soup(700);
        let hierarchy = Hierarchy::new(&corners);
        let mut next = numbers();
        let (mut hits, mut blocked_count) = (0, 0);
        for _ in 0..60 {
            let mut packet = Packet::default();
            let mut rays = Vec::new();
            // One lane stays empty.
            for lane in 1..LANES {
                let origin = Vec3::new(next(), next(), next()) * 2.0 - 0.5;
                let towards = Vec3::new(next(), next(), next()) - origin;
                let far = if lane % 3 == 0 { 0.4 } else { 9.0 };
                packet.set(lane, origin, towards.normalize(), far);
                rays.push((lane, origin, towards.normalize(), far));
            }
            let (mut nearest, mut blocked) = (packet, packet);
            hierarchy.nearest(&mut nearest);
            hierarchy.block(&mut blocked);
            let mut counts = [0; LANES];
            hierarchy.all(&mut packet, |lane, _, _| counts[lane] += 1);
            assert_eq!(nearest.number[0], NOTHING);
            for (lane, origin, direction, far) in rays {
                let expected = slow(&corners, origin, direction, far);
                assert_eq!(blocked.far[lane] < 0.0, expected.is_some());
                assert_eq!(counts[lane] > 0, expected.is_some());
                match expected {
                    Some((number, t)) => {
                        assert_eq!(nearest.number[lane], number);
                        assert!((nearest.far[lane] - t).abs() < 1e-4);
                        hits += 1;
                    }
                    None => {
                        assert_eq!((nearest.number[lane], nearest.far[lane]), (NOTHING, far));
                        blocked_count += 1;
                    }
                }
            }
        }
        assert!(
            hits > 200 && blocked_count > 100,
            "{hits} and {blocked_count}"
        );
    }

    #[test]
    fn nothing_is_met_where_nothing_is() {
        let mut packet = Packet::default();
        packet.set(3, Vec3::ZERO, Vec3::X, 10.0);
        Hierarchy::new(&[]).nearest(&mut packet);
        assert_eq!((packet.number[3], packet.far[3]), (NOTHING, 10.0));
    }
}

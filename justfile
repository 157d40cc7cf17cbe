# Everything CI runs
ci:
    bash .ci/run

# Write the exact versions of a new resolution into pyproject.toml
pin:
    uv lock --upgrade
    uv run python .ci/pin_versions.py

# Format and lint
lint:
    uv run ruff format
    uv run ruff check --fix
    uv run pyright
    uv run lint-imports
    uv run deptry sq_pipeline
    uv run deptry sq_pipeline_tests --ignore DEP002,DEP004

# Write the generated parts of the documentation, and build its pages into site/
docs:
    uv run python -m sq_pipeline_tests.docs.generate
    NO_MKDOCS_2_WARNING=1 uv run --group docs mkdocs build --strict

# Draw the README's sheet from a data directory that `sq-pipeline demo DIR` finished
sheet DIR:
    uv run python -m sq_pipeline_tests.docs.sheet {{DIR}}

# Take the pictures of the gallery's page from a data directory that `sq-pipeline demo DIR` finished
gallery-pictures DIR:
    uv run python -m sq_pipeline_tests.docs.gallery_pictures {{DIR}}

# Print the measured figures (speed, memory, quality of tiny-flux)
benchmark:
    uv run python -m sq_pipeline_tests.benchmarks
    uv run python -m sq_pipeline_tests.benchmarks.quality

# Train tiny-flux again from nothing
tiny-flux:
    uv run python -m sq_pipeline.engines.tiny_flux.pretrain data/models/tiny-flux

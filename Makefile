# make try        installs what is needed and renders a real PDF on this machine
# make try-web    installs what is needed, starts the web front end on loopback and prints its link
# make test       installs what is needed and passes the tests
# make test-all   the same with the whole fault matrix (root, about half an hour on two cores)
# make coverage   measures what of src the tests run: lines and branches, subprocesses included
# make faults     breaks everything that can be broken, by name (root, about twenty minutes on two cores)
# make pictures   draws the pictures of README from a run in the lab (root, a minute)
# make benchmark  compares with plain Ghostscript and GNU parallel (root, about five minutes)

SHELL := /bin/sh
PYTHON ?= python3
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
BIN := .venv/bin
# Compiled modules are kept, also where the environment says otherwise.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/pytest
PDF ?= /usr/share/debian-reference/debian-reference.en.pdf

TRY_PACKAGES := python3 python3-venv ghostscript debian-reference-en
TEST_PACKAGES := $(TRY_PACKAGES) libisal2 openssh-client openssh-server iproute2 iptables util-linux procps \
	poppler-utils mupdf-tools tesseract-ocr tesseract-ocr-eng fish tcsh zsh mandoc man-db fuse3 faketime bubblewrap debootstrap tmux chromium fonts-dejavu-core slurm-wlm munge nginx-light curl jq

.PHONY: try try-web test test-all coverage faults check compiled benchmark benchmark-documents pictures lock clean packages-try packages-test

try: packages-try .venv/run
	$(BIN)/sshrender render $(PDF)

# The example is rendered from a folder of this checkout, which `make clean` removes.
try-web: packages-try .venv/web
	mkdir -p .try-web/san
	SSHRENDER_SAN=$(CURDIR)/.try-web/san $(BIN)/sshrender submit --quiet --pages 1-40 -o .try-web/pages $(PDF)
	SSHRENDER_SAN=$(CURDIR)/.try-web/san $(BIN)/sshrender serve --coordinate --sandbox none

test: packages-test .venv/dev
	@$(MAKE) --no-print-directory -j2 check compiled
	$(PYTEST) -n auto --dist worksteal -m "not matrix"

test-all: packages-test .venv/dev
	@$(MAKE) --no-print-directory -j2 check compiled
	$(PYTEST) -n auto --dist worksteal

# What each of the tests' processes would compile by itself: the source, and the tests as pytest rewrites them
# (six seconds of a core for each worker). mypy leaves a core free meanwhile.
compiled: .venv/dev
	@$(BIN)/python -m compileall -q src
	@$(PYTEST) --collect-only -q >/dev/null || true

# Branches of src, in every process on this machine that is started with the environment's Python. What the
# runner does on a host is counted where a test calls it directly: there it runs from memory, without coverage.
coverage: packages-test .venv/dev
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n auto --dist worksteal -m "not matrix"
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --skip-covered --sort cover

# The whole fault matrix, and from it the table of docs/faults.md.
faults: packages-test .venv/dev
	$(BIN)/pytest -n auto tests/faults --junitxml=.faults.xml
	$(BIN)/python -m tests.faults.table .faults.xml > .faults.md
	mv .faults.md docs/faults.md

check: .venv/dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

benchmark: packages-test .venv/dev
	dpkg -s parallel >/dev/null 2>&1 || $(SUDO) apt-get install -y --no-install-recommends parallel
	$(BIN)/python -m benchmarks.compare $(ARGS)

# Several documents at several settings, for the table of docs/figures.md; ARGS: further documents, --write.
benchmark-documents: packages-test .venv/dev
	dpkg -s parallel >/dev/null 2>&1 || $(SUDO) apt-get install -y --no-install-recommends parallel
	$(BIN)/python -m benchmarks.documents $(ARGS)

# The pictures of README, from a real run in the lab.
pictures: packages-test .venv/dev
	$(BIN)/python -m docs.pictures.make

# Debian's packages, installed only when one of them is missing.
packages-try: PACKAGES = $(TRY_PACKAGES)
packages-test: PACKAGES = $(TEST_PACKAGES)
packages-try packages-test:
	@dpkg -s $(PACKAGES) >/dev/null 2>&1 || { $(SUDO) apt-get update && \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $(PACKAGES); }

.venv/run: pyproject.toml requirements.lock
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable .
	touch $@

.venv/web: pyproject.toml requirements.lock
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[web]'
	touch $@ .venv/run

.venv/dev: pyproject.toml requirements.lock
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@ .venv/run .venv/web

# The newest versions that the ranges of pyproject.toml allow, pinned.
lock:
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet --upgrade "pip>=25.1"
	.venv-lock/bin/pip install --quiet --group dev --editable .
	.venv-lock/bin/pip freeze --exclude-editable > requirements.lock
	rm -rf .venv-lock

clean:
	rm -rf .venv .venv-lock .try-web .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .faults.xml .faults.md .coverage .coverage.* dist

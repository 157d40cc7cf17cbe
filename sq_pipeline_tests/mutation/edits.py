"""What people change, by the names they would give it, and for each what must be made again in the first game.

`pictures` are slugs of places: mill, mine and inn are in the world `old`, gate and dock in `paper`, well and fort in
`bare`, reef and wreck in `sea/default`; and `portrait/slug` of people: ada and bo in `old`, gil in `bare`, reef in
`sea/default`. Not here: edits of people and of tiers (`tier_edits`).
"""

from dataclasses import dataclass

from sq_pipeline_tests.mutation.changes import (
    Change,
    add,
    add_world,
    both,
    chapter_prose,
    entry,
    exclude,
    fidelity,
    include,
    keymap,
    legacy,
    machine,
    move,
    picture,
    place,
    put,
    recipe,
    remove,
    rename_adapter,
    rename_kept,
    rename_picture,
    retrigger,
    roll_back,
    settings,
    style,
    swap_pictures,
    swap_slugs,
    tags,
    text,
    threshold,
    verify,
    weights,
)
from sq_pipeline_tests.mutation.game import Chapter, Picture, Place

PLACES = "mill mine inn gate dock well fort reef wreck"
FACES_OF_OLD = "portrait/ada portrait/bo"
OF_OLD = f"mill mine inn {FACES_OF_OLD}"
OF_BARE = "well fort portrait/gil"
OF_SEA = "reef wreck portrait/reef"
WITH_TRAINED = f"{OF_OLD} gate dock"
OF_WEST = f"{WITH_TRAINED} {OF_BARE}"
ALL = f"{OF_WEST} {OF_SEA}"
ALL_ADAPTERS = "west_land west_face paper_land sea_landscape"
TRAINED_ADAPTERS = "west_land west_face paper_land"
JUDGED_ON_LAND = "west_land paper_land sea_landscape"
LAND, FACE, PAPER = "west/landscape", "west/portrait", "west/worlds/paper/landscape"
DOCK = "A dock where boats lie. Ropes hang over the water."


@dataclass(frozen=True)
class Edit:
    """One kind of edit. Where the game has no such thing (any more), `change` does nothing."""

    name: str
    change: Change
    pictures: str = ""
    trained: str = ""
    remapped: str = ""
    verified: str = ""


def trains(name: str, change: Change, adapter: str, pictures: str) -> Edit:
    """An edit that changes what an adapter has learned."""
    return Edit(name, change, pictures, adapter, adapter, adapter)


EDITS = [
    # datasets
    trains("dataset: an image repainted", picture(LAND, "b.png", look=99), "west_land", "mill mine inn"),
    trains("dataset: an image added", lambda g: g.datasets[LAND].pictures.update({"d.png": Picture(60, "west")}),
           "west_land", "mill mine inn"),
    trains("dataset: images in another order", swap_pictures(LAND, "a.png", "c.png"), "west_land", "mill mine inn"),
    trains("dataset: a caption rewritten", picture(PAPER, "a.png", caption="west_paper, a boat"), "paper_land",
           "gate dock"),
    trains("dataset: the trigger renamed", retrigger(LAND, "wild_west"), "west_land", "mill mine inn"),
    trains("dataset: of an adapter for portraits", picture(FACE, "a.png", look=98), "west_face", FACES_OF_OLD),
    Edit("dataset: an image saved again, pixels equal", picture(LAND, "b.png", packing=1)),
    Edit("dataset: an image renamed, order kept", rename_picture(LAND, "b.png", "bb.png")),
    Edit("dataset: a caption ends with a new line", picture(LAND, "a.png", caption="west\n")),
    Edit("dataset: broken, a style's caption is not its trigger", picture(LAND, "a.png", caption="a house")),
    Edit("dataset: too few pairs", recipe(LAND, min_pairs=9)),
    Edit("dataset: nobody uses it", picture("west/worlds/bare/landscape", "a.png", look=97)),
    # recipes
    trains("recipe: learning_rate", recipe(LAND, learning_rate=0.002), "west_land", "mill mine inn"),
    trains("recipe: iterations", recipe(PAPER, iterations=4), "paper_land", "gate dock"),
    trains("recipe: rank", recipe(PAPER, rank=2), "paper_land", "gate dock"),
    trains("recipe: seed", recipe(LAND, seed=5), "west_land", "mill mine inn"),
    trains("recipe: base_model", recipe(LAND, base_model="dev"), "west_land", "mill mine inn"),
    Edit("recipe: base_model named that is used anyway", recipe(LAND, base_model="tiny")),
    Edit("recipe: warmup_steps, and the adapter comes out identical", recipe(LAND, warmup_steps=1), "", "west_land"),
    Edit("recipe: min_pairs", recipe(LAND, min_pairs=2)),
    Edit("recipe: checkpoint_interval", recipe(LAND, checkpoint_interval=2)),
    Edit("recipe: a default written out", recipe(LAND, grad_accumulation=4, guidance=4)),
    Edit("recipe: a comment", lambda g: vars(g.datasets[LAND]).update(comment="slow")),
    Edit("recipe: an adapter that learned nothing is not used", recipe(LAND, learning_rate=1e-9), "", "west_land",
         "west_land", "west_land"),
    # keymap and remap
    Edit("keymap: a real change", keymap(prefix="lora_unet_x_"), WITH_TRAINED, "", TRAINED_ADAPTERS, TRAINED_ADAPTERS),
    Edit("keymap: a comment", keymap(comment="checked by hand")),
    Edit("keymap: rules in another order", keymap(is_reversed=True)),
    Edit("keymap: its version number", keymap(version=2)),
    Edit("keymap: for newer mflux only", keymap(loader_versions=">=0.30")),
    Edit("remap: code revision", machine(remap_revision=2), "", "", ALL_ADAPTERS),
    # verification and promotion
    Edit("verify prompts: one rewritten", verify("landscape", prompts=["a barn"]), "", "", "", JUDGED_ON_LAND),
    Edit("verify prompts: one added", verify("landscape", prompts=["a landscape", "a barn"]), "", "", "",
         JUDGED_ON_LAND),
    Edit("verify prompts: the control word", verify("landscape", control_word="xyzzy"), "", "", "", JUDGED_ON_LAND),
    Edit("verify prompts: of portraits", verify("portrait", prompts=["a face"]), "", "", "", "west_face"),
    Edit("verify prompts: a comment", verify("landscape", comment="ours")),
    Edit("verify: code revision", machine(verify_revision=2), "", "", "", ALL_ADAPTERS),
    Edit("threshold: the verdicts stay", threshold(ssim_changed_max=0.99), "", "", "", ALL_ADAPTERS),
    Edit("threshold: the verdicts flip", threshold(ssim_changed_max=0.1), "", "", "", ALL_ADAPTERS),
    Edit("threshold: of fidelity, the verdicts stay", fidelity(1e-4, "a better trainer"), "", "", "", ALL_ADAPTERS),
    Edit("threshold: of fidelity, the verdicts flip", fidelity(1e-7, "a better trainer"), "", "", "", ALL_ADAPTERS),
    Edit("threshold: of fidelity, only its reason", fidelity(1e-3, "as it was"), "", "", "", ALL_ADAPTERS),
    Edit("threshold: of the trigger, the verdicts stay", threshold(ssim_trigger_max=0.95), "", "", "", ALL_ADAPTERS),
    Edit("threshold: a default written out", threshold(ssim_trigger_max=0.97)),
    Edit("promotion: manual", settings(promotion="manual")),
    Edit("promotion: manual, and a dataset repainted", both(settings(promotion="manual"),
         picture(LAND, "b.png", look=96)), "", "west_land", "west_land", "west_land"),
    trains("promotion: manual, a dataset repainted, and a person says yes", both(settings(promotion="manual"),
           picture(LAND, "b.png", look=95), lambda g: vars(g).update(says_yes=True)), "west_land", "mill mine inn"),
    Edit("promotion: a person says yes where nothing waits", lambda g: vars(g).update(says_yes=True)),
    Edit("promotion: the version before is put back, and there is none", roll_back),
    trains("promotion: a dataset repainted, and the version before put back once there is one", both(roll_back,
           picture(LAND, "b.png", look=94)), "west_land", "mill mine inn"),
    # base models and engines
    trains("base model: other weights of tiny-flux", weights("tiny-flux", "sha256:" + "1" * 64), TRAINED_ADAPTERS,
           OF_WEST),
    Edit("base model: other weights of flux1-dev", weights("flux1-dev", "sha256:" + "e" * 64), OF_SEA, "", "",
         "sea_landscape"),
    Edit("base model: weights are gone", lambda g: g.machine.weights.pop("flux1-dev", None)),
    trains("base model: sq.yaml makes all flux1-dev", settings(base_model="dev"), TRAINED_ADAPTERS, OF_WEST),
    Edit("base model: sq.yaml makes all tiny-flux", settings(base_model="tiny-flux"), OF_SEA, "", "sea_landscape",
         "sea_landscape"),
    Edit("base model: steps", lambda g: g.machine.steps.update({"tiny-flux": 9}), OF_WEST, "", "", TRAINED_ADAPTERS),
    Edit("base model: guidance", lambda g: g.machine.guidance.update({"flux1-dev": 4.0}), OF_SEA, "", "",
         "sea_landscape"),
    trains("base model: size of training pictures", machine(training_px=8), TRAINED_ADAPTERS, WITH_TRAINED),
    Edit("renderer: a version", machine(renderer={"mflux": "2", "mlx": "1"}), ALL, "", "", ALL_ADAPTERS),
    Edit("renderer: MLX's version", machine(renderer={"mflux": "1", "mlx": "2"}), ALL, "", "", ALL_ADAPTERS),
    Edit("renderer: code revision", machine(render_revision=2), ALL),
    Edit("trainer: a version, and the adapters come out identical", machine(trainer={"ours": "2"}), "",
         TRAINED_ADAPTERS),
    Edit("mflux: a version in the keymap's range", machine(mflux="0.25.0")),
    Edit("another chip", machine(chip="another chip")),
    Edit("sq.yaml: the night window", settings(night_window={"start": "23:00", "end": "05:00"})),
    # styles of a genre; `paper` has a positive_suffix of its own, `bare` a base_seed
    Edit("genre: positive_suffix", text("west", "positive_suffix", "very wide"), f"{OF_OLD} {OF_BARE}"),
    Edit("genre: negative_prompt, the base model reads none", text("west", "negative_prompt", "blur")),
    Edit("genre: negative_prompt, the base model reads it", text("sea", "negative_prompt", "blur"), OF_SEA),
    Edit("genre: base_seed", text("west", "base_seed", 2), WITH_TRAINED),
    trains("genre: preferred_model", text("west", "preferred_model", "dev"), TRAINED_ADAPTERS, OF_WEST),
    Edit("genre: preferred_model named that is used anyway", text("west", "preferred_model", "tiny-flux")),
    Edit("genre: poi_style", text("west", "poi_style", "oil painting"), "mill mine inn gate dock well fort"),
    Edit("genre: visual_tag_overrides", tags("west", "ruin", "ivy"), "inn fort"),
    Edit("genre: visual_tag_overrides of a type that no place has", tags("west", "ship", "sails")),
    Edit("genre: a key of the game's own", text("west", "soundtrack", "banjo")),
    Edit("genre: a comment", style("west", comment="ours")),
    Edit("genre: keys in another order", style("west", is_reversed=True)),
    Edit("genre: its style cannot be read", style("west", is_broken=True)),
    # styles of a world
    Edit("world: positive_suffix", text("west/paper", "positive_suffix", "on white paper"), "gate dock"),
    Edit("world: positive_suffix, in a new file", text("west/old", "positive_suffix", "narrow view"), OF_OLD),
    Edit("world: of a genre's own places", text("sea/default", "positive_suffix", "under water"), OF_SEA),
    Edit("world: negative_prompt", text("west/old", "negative_prompt", "blur")),
    Edit("world: base_seed", text("west/bare", "base_seed", 6), OF_BARE),
    trains("world: preferred_model", text("west/paper", "preferred_model", "dev"), "paper_land", "gate dock"),
    Edit("world: preferred_model, without adapters", text("west/bare", "preferred_model", "dev"), OF_BARE),
    Edit("world: poi_style", text("west/old", "poi_style", "oil painting"), "mill mine inn"),
    Edit("world: visual_tag_overrides", tags("west/bare", "ruin", "moss"), "fort"),
    Edit("world: says what its genre says", text("west/old", "poi_style", "ink drawing")),
    Edit("world: its style cannot be read", style("west/paper", is_broken=True)),
    Edit("world: added", add_world, "tower"),
    Edit("world: removed", lambda g: g.genres["west"].worlds.pop("bare", None)),
    # stacks
    Edit("stack: scale", entry("west_land", scale=0.5), "mill mine inn"),
    Edit("stack: scale in a world's own entry", entry("paper_land", scale=0.9), "gate dock"),
    Edit("stack: legacy lora_scale", legacy(lora_scale=0.7), OF_SEA),
    Edit("stack: legacy lora_trigger", legacy(lora_trigger="ocean"), OF_SEA, "", "", "sea_landscape"),
    Edit("stack: trigger", entry("west_land", trigger="wild"), "mill mine inn", "", "", "west_land"),
    Edit("stack: trigger removed", entry("west_land", trigger=None), "mill mine inn", "", "", "west_land"),
    Edit("stack: applies_to, no longer landscape", entry("west_land", applies_to=["scene"]), "", "", "", "west_land"),
    Edit("stack: applies_to, no longer scene", entry("west_land", applies_to=["landscape"])),
    Edit("stack: exclude", exclude("west/old", "west_land"), "mill mine inn"),
    Edit("stack: exclude no longer", include("west/bare", "west_land"), "well fort"),
    Edit("stack: exclude in another order", style("west/bare", exclude=["west_face", "west_land"])),
    trains("stack: add", add("west/bare", "bare_land"), "bare_land", "well fort"),
    trains("stack: add to what is inherited", add("west/old", "old_land"), "old_land", "mill mine inn"),
    Edit("stack: add no longer", style("west/paper", add=[]), "gate dock"),
    Edit("stack: no world uses what its genre has, and that is for no places", both(exclude("west/old", "west_land"),
         exclude("west/old", "west_face"), exclude("west/paper", "west_face"), style("west/paper", add=[]),
         entry("west_land", applies_to=["scene"])), FACES_OF_OLD),
    Edit("stack: genre's entries in another order", lambda g: g.genres["west"].style.loras.reverse()),
    Edit("stack: an adapter renamed everywhere", rename_adapter("west_land", "west_country")),
    trains("stack: an adapter renamed everywhere, and its dataset repainted", both(rename_adapter("west_land",
           "west_country"), picture(LAND, "b.png", look=93)), "west_country", "mill mine inn"),
    Edit("stack: the author's own file replaced", lambda g: vars(g.externals["sea/landscape.safetensors"]).update(
         look=2), OF_SEA, "", "sea_landscape", "sea_landscape"),
    Edit("stack: the author's own file, its metadata", lambda g: vars(g.externals["sea/landscape.safetensors"]).update(
         note="mine")),
    Edit("stack: an entry is faulty, and no other", entry("west_face", is_faulty=True)),
    Edit("stack: a world's own entry is faulty", entry("paper_land", is_faulty=True)),
    # places
    Edit("place: one is faulty, and no other", place("Mine", is_faulty=True)),
    Edit("place: one is faulty, and its neighbour's prompt is new", both(place("Mine", is_faulty=True),
         place("Mill", prompt="a burnt mill")), "mill"),
    Edit("place: all of a world are faulty", both(place("Gate", is_faulty=True), place("Dock", is_faulty=True))),
    # what an entry says of its own picture
    Edit("picture: a seed of its own", place("Mill", seed=7), "mill"),
    Edit("picture: a seed of zero", place("Mine", seed=0), "mine"),
    Edit("picture: the next seed", place("Mine", seed="+1"), "mine"),
    Edit("picture: the one after the next", place("Mine", seed="+2"), "mine"),
    Edit("picture: the seed that it has", place("Mine", seed="+0")),
    Edit("picture: its own size", place("Mill", size_px=[80, 64]), "mill"),
    Edit("picture: its own steps", place("Gate", steps=5), "gate"),
    Edit("picture: its own negative prompt, the base model reads none", place("Gate", negative="fog")),
    Edit("picture: its own negative prompt, the base model reads it", place("Reef", negative="fog"), "reef"),
    Edit("picture: a note", place("Mill", note="ask Bo")),
    Edit("picture: a draft", place("Mill", is_draft=True)),
    Edit("picture: all of a world are drafts", both(place("Gate", is_draft=True), place("Dock", is_draft=True))),
    Edit("picture: all of it at once", place("Inn", seed=3, size_px=[64, 80], steps=4, note="x"), "inn"),
    Edit("place: added", put("old", 1, Place("Saloon", "a saloon at night")), "saloon"),
    Edit("place: removed", remove("Mill")),
    Edit("place: renamed", place("Mill", name="Old Mill"), "old_mill"),
    Edit("place: renamed, slug kept", rename_kept("Mine", "Silver Mine"), "mine"),
    Edit("place: slug only", place("Mill", slug="watermill")),
    Edit("place: two swap their slugs", swap_slugs("Mill", "Mine")),
    Edit("place: moved to another chapter", move("Mine", "old", 1)),
    Edit("place: moved within its chapter", move("Mill", "old", 0)),
    Edit("place: moved to another world", move("Mill", "paper", 0), "mill"),
    Edit("place: named again in a later chapter", lambda g: g.chapters()[1].again.append("Mill")),
    Edit("place: visual_prompt", place("Mill", prompt="a burnt mill"), "mill"),
    Edit("place: visual_prompt added", place("Fort", prompt="a wooden fort"), "fort"),
    Edit("place: visual_prompt removed", place("Inn", prompt=None), "inn"),
    Edit("place: visual_prompt as a text", place("Reef", has_solo=False)),
    Edit("place: description beside a visual_prompt", place("Inn", description="Still not read.")),
    Edit("place: description without a visual_prompt", place("Fort", description="A fort in a valley."), "fort"),
    Edit("place: description, a sentence that does not fit", place("Dock", description=DOCK + " Gulls" * 40 + ".")),
    Edit("place: description, a sentence that fits", place("Dock", description="A pier. It is old."), "dock"),
    Edit("place: type", place("Inn", kind="mine"), "inn"),
    Edit("place: type without tags", place("Mill", kind="mill")),
    Edit("place: type, in a genre without tags", place("Wreck", kind="ship")),
    Edit("place: region", place("Mill", region="north")),
    Edit("chapter: prose", chapter_prose),
    Edit("chapter: added, without places", lambda g: (g.genres["sea"].chapters or []).append(Chapter([]))),
]  # fmt: skip

"""Which picture has which caption, and what in the folder has neither. Not here: what a picture or a caption holds."""

import glob
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sq_pipeline.common.errors import Fault
from sq_pipeline.common.hints import command
from sq_pipeline.common.strict_yaml import as_yaml_text
from sq_pipeline.training.dataset_files import RECIPE_FILE, FolderListing, find_misnamed_recipe, stem_of
from sq_pipeline.training.pictures.formats import describe_other
from sq_pipeline.training.preflight.like_faults import LikeFault
from sq_pipeline.training.preflight.other_layouts import (
    TABLES,
    find_caption,
    mask_pattern,
    pictures_below,
    read_table,
    repeats_of,
)


@dataclass(frozen=True)
class Pairing:
    """Pictures with their captions, in the order of training.

    `is_elsewhere`: another trainer's layout was found. `is_recipe_misnamed`: a recipe was, that is not read.
    """

    pairs: tuple[tuple[Path, Path], ...]
    faults: tuple[Fault, ...]
    notes: tuple[Fault, ...]
    is_elsewhere: bool
    is_recipe_misnamed: bool


def pair_up(listing: FolderListing, folder: Path, name: str) -> Pairing:
    """Pair what the folder holds; `name` names it in faults."""
    captions = {stem_of(path): path for path in listing.captions}
    pairs = tuple((path, captions[stem_of(path)]) for path in listing.images if stem_of(path) in captions)
    elsewhere = [*_captions_elsewhere(listing, folder, name)]
    folders = [*_folders_of_pictures(listing, folder, name)]
    misnamed = find_misnamed_recipe(folder)
    faults = [*_told_twice(listing, name), *elsewhere, *_images_alone(listing, name)]
    faults += [fault for fault in _captions_alone(listing, name) if misnamed is None or misnamed.name not in fault.file]
    if not pairs:
        faults += folders
    notes = [] if not pairs else folders
    told = {path.name for path in (misnamed,) if path} | {*_read_elsewhere(listing)}
    notes += _others(listing, name, without=told)
    if misnamed is not None:
        problem = f"is not read: the recipe's name is {RECIPE_FILE}"
        faults.append(Fault(f"{name}/{misnamed.name}", "", problem, f"rename it to {RECIPE_FILE}"))
    is_elsewhere = bool(elsewhere or (folders and not pairs))
    return Pairing(pairs, tuple(faults), tuple(notes), is_elsewhere, misnamed is not None)


def _import_hint(folder: Path) -> str:
    source = folder if folder.name else folder.resolve()
    target = source.with_name(f"{source.name}-imported")
    return f"{command('dataset import', source, target)} copies it"


def _told_twice(listing: FolderListing, name: str) -> Iterator[Fault]:
    captions: dict[str, Path] = {}
    for path in listing.captions:
        stem = stem_of(path)
        if stem in captions:
            problem = f"captions the same image as {captions[stem].name}"
            yield LikeFault(f"{name}/{path.name}", "", problem, "remove one of the two", "is a second caption")
        captions[stem] = path
    images: dict[str, Path] = {}
    for path in listing.images:
        stem = stem_of(path)
        if stem in images:
            problem = f"shares its caption with {images[stem].name}"
            shared = "shares its caption with another"
            yield LikeFault(f"{name}/{path.name}", "", problem, "rename one of the two", shared)
        images[stem] = path


def _without_caption(listing: FolderListing) -> list[Path]:
    captioned = {stem_of(path) for path in listing.captions}
    return [path for path in listing.images if stem_of(path) not in captioned]


def _captions_elsewhere(listing: FolderListing, folder: Path, name: str) -> Iterator[Fault]:
    """Captions that another trainer reads: a table of them is one fault, however many pictures it has."""
    alone = _without_caption(listing)
    for path in listing.others:
        if path.name not in TABLES:
            continue
        count = len({image.name for image in alone} & read_table(path).keys())
        if count:
            problem = f"holds the captions of {count} pictures; captions are read from .txt files"
            yield Fault(f"{name}/{path.name}", "", problem, _import_hint(folder))
            return
    for path in alone:
        found = find_caption(path)
        if found:
            problem = f"has its caption in {found[0].name}, which is not read"
            shared = "has its caption in another file than a .txt of its name"
            yield LikeFault(f"{name}/{path.name}", "", problem, _import_hint(folder), shared)


def _read_elsewhere(listing: FolderListing) -> Iterator[str]:
    """The files that a fault names, since another trainer has its captions there."""
    alone = _without_caption(listing)
    names = {image.name for image in alone}
    yield from (path.name for path in listing.others if path.name in TABLES and names & read_table(path).keys())
    yield from (found[0].name for path in alone if (found := find_caption(path)))


def _images_alone(listing: FolderListing, name: str) -> Iterator[Fault]:
    stems = {stem_of(path): path for path in listing.images}
    near = _captions_of_near_names(listing)
    tables = [read_table(path) for path in listing.others if path.name in TABLES]
    for path in _without_caption(listing):
        if any(path.name in table for table in tables) or find_caption(path):
            continue
        file, mask = f"{name}/{path.name}", mask_pattern(path, stems)
        if caption := near.get(path):
            problem = f"has its caption in {caption.name}, whose name differs in capitals or spaces"
            yield Fault(file, "", problem, f"rename it to {path.stem}.txt")
        elif mask:
            hint = f"put `ignore: [{as_yaml_text(mask)}]` in {RECIPE_FILE}"
            yield Fault(file, "", "looks like a mask of another trainer, which is not read", hint)
        else:
            yield Fault(file, "", "has no caption", f"write a .txt of its name, or `ignore` it in {RECIPE_FILE}")


def _captions_of_near_names(listing: FolderListing) -> dict[Path, Path]:
    """Pictures without a caption, with the caption without a picture that is called alike but for case and spaces."""

    def plain(path: Path) -> str:
        return "".join(stem_of(path).casefold().split())

    images = {stem_of(path) for path in listing.images}
    captions = {plain(path): path for path in listing.captions if stem_of(path) not in images}
    return {path: captions[plain(path)] for path in _without_caption(listing) if plain(path) in captions}


def _captions_alone(listing: FolderListing, name: str) -> Iterator[Fault]:
    images = {stem_of(path) for path in listing.images}
    told = {found[0] for path in _without_caption(listing) if (found := find_caption(path))}
    told |= {*_captions_of_near_names(listing).values()}
    unread = {stem_of(path): path for path in listing.others if describe_other(path)}
    for path in listing.captions:
        stem = stem_of(path)
        if stem in images or path in told:
            continue
        if stem in unread:
            problem, hint = describe_other(unread[stem]) or ("", "")
            yield Fault(f"{name}/{unread[stem].name}", "", problem, hint)
        else:
            hint = f"add the picture, or put `ignore: [{as_yaml_text(glob.escape(path.name))}]` in {RECIPE_FILE}"
            yield LikeFault(f"{name}/{path.name}", "", "has no image: it is no caption of a picture here", hint)


def _folders_of_pictures(listing: FolderListing, folder: Path, name: str) -> Iterator[Fault]:
    for path in listing.others:
        if path.is_symlink() or not path.is_dir():
            continue
        count = len(pictures_below(path))
        if count:
            repeats = repeats_of(path.name)
            how = f", {repeats} times each in Kohya's trainer," if repeats else ""
            problem = (
                f"holds {count} picture{'s' if count > 1 else ''}{how} that {'are' if count > 1 else 'is'} not trained"
            )
            yield Fault(f"{name}/{path.name}/", "", problem, _import_hint(folder))


def _others(listing: FolderListing, name: str, without: set[str]) -> Iterator[Fault]:
    captioned = {stem_of(path) for path in listing.captions}
    for path in listing.others:
        if path.is_symlink() and path.is_dir():
            hint = "put the pictures themselves into the folder"
            yield Fault(f"{name}/{path.name}", "", "is a link to a folder; nothing in it is trained", hint)
            continue
        if path.name in without or (path.is_dir() and pictures_below(path)):
            continue
        described = describe_other(path)
        if described and stem_of(path) in captioned and not any(stem_of(i) == stem_of(path) for i in listing.images):
            continue  # it is a fault
        if described:
            yield Fault(f"{name}/{path.name}", "", f"{described[0]}; it is not trained", described[1])
        else:
            yield Fault(f"{name}/{path.name}", "", "is neither image nor caption", "it is ignored")

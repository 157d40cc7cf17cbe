"""The words of people and creatures, by list. Not here: captions of them (`captions`), how anything looks."""

from collections.abc import Mapping

from sq_pipeline.painter.vocabulary import GROUNDS, TIMES

Words = Mapping[str, tuple[str, ...]]

HAIRS: Words = {
    "black": ("black-haired", "black hair", "jet-black hair", "black locks"),
    "brown": ("brown-haired", "brown hair", "chestnut hair", "brown locks"),
    "blond": ("blond-haired", "blond hair", "fair hair", "blonde hair"),
    "red": ("red-haired", "red hair", "ginger hair", "copper hair"),
    "grey": ("grey-haired", "grey hair", "silver hair", "gray hair"),
}
HEADWEARS: Words = {
    "bareheaded": ("bareheaded", "bare head", "uncovered head"),
    "hat": ("wide-brimmed hat", "wide hat", "hat", "stetson"),
    "hood": ("hooded", "hood", "deep hood", "cowl"),
    "crown": ("crowned", "crown", "golden crown", "diadem"),
    "bandana": ("bandana", "headscarf", "kerchief", "knotted bandana"),
    "helmet": ("helmeted", "helmet", "iron helmet", "steel helm"),
}
GARMENTS: Words = {
    "red": ("red coat", "red cloak", "crimson coat", "scarlet robe"),
    "blue": ("blue coat", "blue cloak", "blue dress", "azure robe"),
    "green": ("green coat", "green cloak", "green robe", "emerald coat"),
    "yellow": ("yellow coat", "yellow cloak", "yellow dress", "mustard coat"),
    "white": ("white coat", "white cloak", "white robe", "cream coat"),
    "purple": ("purple coat", "purple cloak", "violet robe", "purple dress"),
}
FACES: Words = {
    "plain": ("clean-shaven", "smooth-faced", "fresh-faced", "smooth face"),
    "bearded": ("bearded", "full beard", "long beard", "bushy beard"),
    "eyepatch": ("one-eyed", "eyepatch", "eye patch", "patch over one eye"),
    "spectacles": ("bespectacled", "spectacles", "glasses", "round glasses"),
}
SKINS: Words = {
    "pale": ("pale-skinned", "pale skin", "fair-skinned"),
    "tanned": ("tanned", "suntanned", "tanned skin"),
    "brown": ("brown-skinned", "brown skin", "olive skin"),
    "dark": ("dark-skinned", "dark skin", "ebony skin"),
}
SPECIES: Words = {
    "wolf": ("wolf", "dire wolf", "timber wolf", "lone wolf"),
    "bear": ("bear", "grizzly", "cave bear", "grizzly bear"),
    "horse": ("horse", "stallion", "mare", "steed"),
    "raven": ("raven", "crow", "carrion crow"),
    "snake": ("snake", "serpent", "viper", "cobra"),
    "spider": ("spider", "tarantula", "cave spider"),
    "dragon": ("dragon", "wyrm", "drake", "winged dragon"),
    "cat": ("cat", "wildcat", "tomcat"),
}
COATS: Words = {
    "black": ("black", "jet-black", "pitch-black", "coal-black"),
    "white": ("white", "chalk-white", "ivory", "milk-white"),
    "grey": ("grey", "gray", "ash-grey", "silver"),
    "red": ("red", "crimson", "blood-red", "rust-red"),
    "golden": ("golden", "yellow", "tawny", "amber"),
    "green": ("green", "emerald", "moss-green", "jade"),
}
PERSON_WORDS: Mapping[str, Words] = {
    "hair": HAIRS,
    "headwear": HEADWEARS,
    "garment": GARMENTS,
    "face": FACES,
    "skin": SKINS,
    "time": TIMES,
    "ground": GROUNDS,
}
CREATURE_WORDS: Mapping[str, Words] = {"species": SPECIES, "coat": COATS, "time": TIMES, "ground": GROUNDS}

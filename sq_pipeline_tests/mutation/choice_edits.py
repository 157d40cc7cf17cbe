"""What people decide of single pictures, alone and with what else they change. Pictures are named as in `edits`."""

from sq_pipeline_tests.mutation.changes import both, decide, entry, person, place, text
from sq_pipeline_tests.mutation.edits import FACES_OF_OLD, OF_WEST, Edit

OTHERS_OF_WEST = " ".join(name for name in OF_WEST.split() if name != "mill")

CHOICE_EDITS = [
    Edit("choice: a take of a place", decide("pick", "Mill", 2), "mill"),
    Edit("choice: a take of a person", decide("pick", "Ada", 3), "portrait/ada"),
    Edit("choice: the take that is there", decide("pick", "Mill", 0)),
    Edit("choice: another take of the same", both(decide("pick", "Mill", 2), decide("pick", "Mill", 5)), "mill"),
    Edit("choice: a take, and let go", both(decide("pick", "Mill", 2), decide("unlock", "Mill"))),
    Edit("choice: a take beside a seed of its entry", both(decide("pick", "Inn", 1), place("Inn", seed=9)), "inn"),
    Edit("choice: a take, and other words", both(decide("pick", "Mill", 2), place("Mill", prompt="a mill")), "mill"),
    Edit("choice: a take, and renamed with its slug",
         both(decide("pick", "Mine", 1), place("Mine", name="Silver Mine", slug="mine")), "mine"),
    Edit("choice: a lock", decide("lock", "Mill")),
    Edit("choice: a lock of a person", decide("lock", "Ada")),
    Edit("choice: a lock, and other words", both(decide("lock", "Mill"), place("Mill", prompt="a burnt mill"))),
    Edit("choice: a lock, and another style", both(decide("lock", "Mill"), text("west", "positive_suffix", "dim")),
         " ".join(name for name in OTHERS_OF_WEST.split() if name not in ("gate", "dock"))),
    Edit("choice: a lock, and another scale", both(decide("lock", "Mill"), entry("west_land", scale=0.3)), "mine inn"),
    Edit("choice: a lock, and faulty entries beside it",
         both(decide("lock", "Mill"), entry("west_land", is_faulty=True))),
    Edit("choice: a lock, and a draft", both(decide("lock", "Mill"), place("Mill", is_draft=True))),
    Edit("choice: a lock, and let go", both(decide("lock", "Mill"), decide("unlock", "Mill"))),
    Edit("choice: a lock over a take", both(decide("pick", "Mill", 2), decide("lock", "Mill"))),
    Edit("choice: a lock twice", both(decide("lock", "Mill"), decide("lock", "Mill"))),
    Edit("choice: a lock of a person, and other words of all",
         both(decide("lock", "Ada"), person("Ada", culture="hill folk"), person("Bo", prompt="a man in grey")),
         "portrait/bo"),
    Edit("choice: a file of one's own", decide("adopt", "Mill", 7)),
    Edit("choice: a file of one's own, of a person", decide("adopt", "Bo", 8)),
    Edit("choice: a file of one's own, then another", both(decide("adopt", "Mill", 7), decide("adopt", "Mill", 9))),
    Edit("choice: a file of one's own, and let go", both(decide("adopt", "Mill", 7), decide("unlock", "Mill"))),
    Edit("choice: a file of one's own, and another style",
         both(decide("adopt", "Ada", 7), text("west", "portrait_style", "in profile")),
         " ".join(name for name in f"{FACES_OF_OLD} portrait/gil".split() if name != "portrait/ada")),
    Edit("choice: let go of what is free", decide("unlock", "Mill")),
]  # fmt: skip

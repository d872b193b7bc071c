"""Container names: Docker's rule, and generated ones (an adjective and the name of a bridge builder or
metallurgist); pure but for chance.
"""

import random
import re
from collections.abc import Callable
from typing import Final

from corten.errors import InvalidArgument

ALLOWED: Final = "[a-zA-Z0-9][a-zA-Z0-9_.-]"
_RULE: Final = re.compile(rf"{ALLOWED}+\Z")

ADJECTIVES: Final = (
    "able", "agile", "amber", "ample", "awake", "balanced", "bold", "brave", "breezy", "brisk", "bronze", "calm",
    "candid", "capable", "careful", "cheerful", "clear", "clever", "coastal", "copper", "cosmic", "crisp",
    "curious", "daring", "deft", "diligent", "direct", "driven", "eager", "early", "earnest", "easy", "electric",
    "elegant", "even", "fair", "faithful", "fearless", "fine", "firm", "fluent", "focused", "fond", "frank",
    "free", "fresh", "gallant", "generous", "gentle", "genuine", "gifted", "glad", "golden", "graceful", "grand",
    "handy", "happy", "hardy", "helpful", "honest", "hopeful", "humble", "iron", "jolly", "jovial", "keen",
    "kind", "lively", "logical", "loyal", "lucid", "lucky", "mellow", "merry", "mighty", "mild", "modest", "neat",
    "nimble", "noble", "open", "patient", "peaceful", "placid", "plain", "playful", "poised", "polite", "prime",
    "proud", "prudent", "quick", "quiet", "rapid", "ready", "robust", "rugged", "rustic", "sage", "sharp",
    "silent", "silver", "simple", "sincere", "sleek", "smooth", "snug", "sober", "solid", "sound", "sparkling",
    "steady", "steel", "sturdy", "subtle", "sunny", "sure", "swift", "tender", "thrifty", "tidy", "tranquil",
    "trusty", "upbeat", "valiant", "vivid", "warm", "welcome", "wise", "witty", "zealous",
)  # fmt: skip
SURNAMES: Final = (
    "ammann", "arup", "baker", "bazalgette", "bessemer", "biringuccio", "bollman", "brunel", "burr", "cartwright",
    "cooper", "cort", "cotton", "cramer", "darby", "deville", "dolan", "eads", "eiffel", "ellet", "emeagwali",
    "fairbairn", "finley", "freyssinet", "galton", "gerber", "gilchrist", "girard", "hadfield", "hennebique",
    "herbert", "hooke", "howe", "huntsman", "ito", "jessop", "kelly", "khan", "kirkaldy", "koenig", "krupp",
    "labelye", "lindenthal", "locke", "maillart", "martin", "maudslay", "menn", "merica", "modjeski", "monier",
    "murdoch", "mushet", "nasmyth", "navier", "nervi", "newcomen", "osmond", "palladio", "perronet", "polhem",
    "pope", "poulson", "pratt", "rankine", "rennie", "riquet", "roberts", "roebling", "roebuck", "roozeboom",
    "savery", "schlaich", "schwedler", "seguin", "shukhov", "siemens", "slutskaya", "smeaton", "smith", "sorby",
    "southwood", "stephenson", "stevenson", "strauss", "telford", "thomas", "timoshenko", "torroja", "town",
    "trevithick", "tschernoff", "turner", "vauban", "vitruvius", "warren", "watt", "wernwag", "whipple",
    "wilkinson", "wohler", "wren", "zhao",
)  # fmt: skip


def check_name(name: str) -> str:
    """``name`` without a leading slash.

    Raises:
        InvalidArgument: with Docker's text, when the rule is broken.
    """
    bare = name.removeprefix("/")
    if not _RULE.match(bare):
        raise InvalidArgument(f"Invalid container name ({name}), only {ALLOWED} are allowed")
    return bare


def generate_name(taken: Callable[[str], bool], choose: Callable[[tuple[str, ...]], str] = random.choice) -> str:
    """A name that ``taken`` denies; a digit is appended once two plain attempts failed."""
    attempt = 0
    while True:
        name = f"{choose(ADJECTIVES)}_{choose(SURNAMES)}"
        if attempt > 1:
            name = f"{name}{random.randrange(10 ** (attempt // 4 + 1))}"
        if not taken(name):
            return name
        attempt += 1

"""The records of a parcel carrier, actions on them, and requests of customers.

Plain Python without the package, since Inspect loads it as a file from an environment of its own. The right end of a
request is the state after its golden actions; many ways lead there, and a request that the rules forbid has none.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

World = dict[str, Any]
Action = tuple[str, dict[str, Any]]

RULES = """\
You work for the customer service of a parcel carrier. Today is 2026-03-02. Use the tools to do what the customer asks,
and nothing else. The rules:
1. Only a parcel with the status "registered" or "in transit" may get another address, a locker or a hold.
2. A hold ends at most 14 days from today.
3. A locker must be in the city of the recipient, have a free box, and carry the weight of the parcel.
4. A claim is for parcels with the status "lost" or "damaged". It pays the declared value if the parcel is insured,
   otherwise the declared value up to 100 euros.
5. If the rules forbid a request, change nothing and say so.
6. Names occur more than once. If a name does not decide, the city or the content of the parcel does.
When everything is done, answer with one sentence and without another tool call."""


def _parcel(recipient: str, street: str, city: str, status: str, weight: float, value: int, **more: Any) -> World:
    plain = {"insured": False, "content": "goods", "hold_until": "", "locker": "", "note": "", "claim": 0}
    first = {"recipient": recipient, "street": street, "city": city, "status": status}
    return {**first, "weight_kg": weight, "value_eur": value, **plain, **more}


START: World = {
    "parcels": {
        "P101": _parcel("Ana Duarte", "Rua do Sol 4", "Lisbon", "in transit", 2.4, 80, content="books"),
        "P102": _parcel("Ana Duarte", "Avenida Norte 19", "Porto", "registered", 6.0, 240, content="coffee machine"),
        "P103": _parcel("Bram Visser", "Kade 7", "Rotterdam", "out for delivery", 1.1, 35, content="shoes"),
        "P104": _parcel("Chiara Ricci", "Via Mare 2", "Genoa", "lost", 0.8, 320, insured=True, content="watch"),
        "P105": _parcel("Chiara Ricci", "Via Mare 2", "Genoa", "damaged", 3.0, 150, content="vase"),
        "P106": _parcel("Dilek Aydin", "Hafenstr. 11", "Hamburg", "in transit", 12.5, 60, content="cat litter"),
        "P107": _parcel("Dilek Aydin", "Hafenstr. 11", "Hamburg", "in transit", 0.4, 25, content="phone case"),
        "P108": _parcel("Emil Novak", "Nadrazni 30", "Brno", "delivered", 2.0, 90, content="lamp"),
    },
    "lockers": {
        "L1": {"city": "Lisbon", "free": 0, "most_kg": 20.0},
        "L2": {"city": "Lisbon", "free": 3, "most_kg": 5.0},
        "L3": {"city": "Hamburg", "free": 4, "most_kg": 10.0},
        "L4": {"city": "Hamburg", "free": 1, "most_kg": 25.0},
        "L5": {"city": "Porto", "free": 2, "most_kg": 5.0},
    },
}
"""The records before each request."""


class Request(NamedTuple):
    """A request of a customer."""

    name: str
    text: str
    golden: tuple[Action, ...]
    """Actions that lead to the right end."""


def _change(parcel: str, street: str, city: str) -> Action:
    return "change_address", {"parcel": parcel, "street": street, "city": city}


def _find(recipient: str) -> Action:
    return "find_parcels", {"recipient": recipient}


def _lockers(city: str) -> Action:
    return "list_lockers", {"city": city}


REQUESTS: tuple[Request, ...] = (
    Request(
        "new-address",
        "I am Ana Duarte. My books should go to Rua da Lua 8 in Lisbon instead.",
        (_find("Ana Duarte"), _change("P101", "Rua da Lua 8", "Lisbon")),
    ),
    Request(
        "hold",
        "Ana Duarte here, from Porto. I am away: please hold my parcel until 2026-03-12.",
        (_find("Ana Duarte"), ("hold", {"parcel": "P102", "until": "2026-03-12"})),
    ),
    Request(
        "hold-too-long",
        "Hold parcel P102 until 2026-04-15, please.",
        (("get_parcel", {"parcel": "P102"}),),
    ),
    Request(
        "too-late",
        "Bram Visser, Rotterdam. Send my shoes to Dijk 3 in Delft, I have moved.",
        (_find("Bram Visser"),),
    ),
    Request(
        "insured-claim",
        "My watch never arrived. File the claim, please. Chiara Ricci, Genoa.",
        (_find("Chiara Ricci"), ("file_claim", {"parcel": "P104", "amount": 320})),
    ),
    Request(
        "uninsured-claim",
        "Chiara Ricci from Genoa: the vase came in pieces, I want my money for it.",
        (_find("Chiara Ricci"), ("file_claim", {"parcel": "P105", "amount": 100})),
    ),
    Request(
        "heavy-locker",
        "Dilek Aydin, Hamburg. Put the cat litter into a locker near me.",
        (
            _find("Dilek Aydin"),
            ("list_lockers", {"city": "Hamburg"}),
            ("use_locker", {"parcel": "P106", "locker": "L4"}),
        ),
    ),
    Request(
        "full-locker",
        "I am Ana Duarte in Lisbon. Please bring my books to a locker in my city.",
        (_find("Ana Duarte"), _lockers("Lisbon"), ("use_locker", {"parcel": "P101", "locker": "L2"})),
    ),
    Request(
        "no-locker",
        "Ana Duarte, Porto: the coffee machine should go to a locker in Porto.",
        (_find("Ana Duarte"), _lockers("Porto")),
    ),
    Request(
        "two-parcels",
        "Dilek Aydin from Hamburg. I moved: send both my parcels to Deichweg 5 in Hamburg.",
        (_find("Dilek Aydin"), _change("P106", "Deichweg 5", "Hamburg"), _change("P107", "Deichweg 5", "Hamburg")),
    ),
    Request(
        "note-and-hold",
        'P107: hold it until 2026-03-10, and add the note "ring twice".',
        (("hold", {"parcel": "P107", "until": "2026-03-10"}), ("add_note", {"parcel": "P107", "note": "ring twice"})),
    ),
    Request(
        "no-claim",
        "Emil Novak, Brno. I do not like the lamp, file a claim over 90 euros.",
        (_find("Emil Novak"),),
    ),
)
"""The dozen; the rules forbid four of them, which must change nothing."""


def start() -> World:
    """Return the records as they are before a request."""
    return copy.deepcopy(START)


def end_of(request: Request) -> World:
    """Return the records after the golden actions of a request."""
    world = start()
    for name, arguments in request.golden:
        ACTIONS[name](world, **arguments)
    return world


def find_parcels(world: World, recipient: str) -> Any:
    """Return the parcels of a recipient."""
    wanted = recipient.strip().lower()
    return {name: one for name, one in world["parcels"].items() if one["recipient"].lower() == wanted}


def get_parcel(world: World, parcel: str) -> Any:
    """Return one parcel."""
    return world["parcels"].get(parcel, f"there is no parcel {parcel}")


def list_lockers(world: World, city: str) -> Any:
    """Return the lockers of a city."""
    wanted = city.strip().lower()
    return {name: one for name, one in world["lockers"].items() if one["city"].lower() == wanted}


def change_address(world: World, parcel: str, street: str, city: str) -> Any:
    """Send a parcel to another address."""
    return _set(world, parcel, street=street.strip(), city=city.strip())


def hold(world: World, parcel: str, until: str) -> Any:
    """Keep a parcel until a day."""
    return _set(world, parcel, hold_until=until.strip())


def use_locker(world: World, parcel: str, locker: str) -> Any:
    """Deliver a parcel to a locker."""
    if locker not in world["lockers"]:
        return f"there is no locker {locker}"
    return _set(world, parcel, locker=locker)


def add_note(world: World, parcel: str, note: str) -> Any:
    """Add a note for the driver."""
    return _set(world, parcel, note=note.strip())


def file_claim(world: World, parcel: str, amount: int) -> Any:
    """File a claim for a parcel, in euros."""
    return _set(world, parcel, claim=int(amount))


def _set(world: World, parcel: str, **values: Any) -> Any:
    if parcel not in world["parcels"]:
        return f"there is no parcel {parcel}"
    world["parcels"][parcel].update(values)
    return "done"


ACTIONS: dict[str, Callable[..., Any]] = {
    one.__name__: one
    for one in (find_parcels, get_parcel, list_lockers, change_address, hold, use_locker, add_note, file_claim)
}
"""The tools: each takes the records first, changes nothing but them, and returns what the model reads."""

"""Lists of English words that `placeholders` goes by. Data only."""

from __future__ import annotations

COMMON = frozenset((
    "a", "about", "according", "again", "all", "am", "an", "and", "answer", "any", "anything", "are", "as", "ask",
    "asked", "at", "be", "been", "being", "but", "by", "can", "could", "current", "currently", "did", "do", "does",
    "exactly", "final", "find", "for", "from", "gave", "get", "give", "given", "gives", "had", "happen", "has",
    "have", "hear", "her", "here", "him", "his", "how", "i", "if", "in", "into", "is", "it", "its", "just",
    "kindly", "know", "known", "last", "latest", "let", "like", "listed", "look", "looking", "me", "mentioned",
    "most", "my", "need", "new", "newest", "now", "of", "on", "or", "our", "out", "please", "present", "presently",
    "provide", "re", "read", "recent", "recorded", "regarding", "remind", "said", "say", "says", "shall", "she",
    "should", "show", "so", "stated", "tell", "than", "that", "the", "their", "them", "then", "there", "these",
    "they", "this", "those", "to", "today", "told", "up", "us", "use", "used", "want", "was", "we", "were", "what",
    "when", "where", "whether", "which", "who", "whom", "whose", "why", "will", "with", "would", "you", "your",
    "actual", "identify", "d", "ll", "m", "s", "t", "ve",
))  # fmt: skip
"""Words that ask, join or point; what a question is about is told by its other words."""

OPENING = frozenset((
    "after", "along", "although", "among", "another", "around", "as", "because", "before", "behind", "beneath",
    "beside", "besides", "between", "beyond", "both", "certain", "dear", "despite", "during", "each", "earlier",
    "either", "even", "every", "everybody", "everyone", "except", "few", "finally", "first", "formerly", "hence",
    "however", "inside", "later", "many", "meanwhile", "neither", "never", "next", "no", "nobody", "nor", "not",
    "nothing", "once", "only", "other", "outside", "over", "per", "perhaps", "previously", "rather", "several",
    "since", "some", "somebody", "someone", "soon", "still", "such", "though", "through", "thus", "together",
    "tomorrow", "toward", "towards", "under", "unless", "unlike", "until", "very", "via", "while", "within",
    "without", "yes", "yesterday", "yet",
))  # fmt: skip
"""Words that are capitalised where a sentence begins, and no names there."""

UNITS = (
    "%", "percent", "hundred", "thousand", "million", "billion", "trillion", "dozen",
    "dollars", "euros", "pounds", "crowns", "francs", "marks", "yen", "pence", "cents",
    "m", "cm", "mm", "km", "metres", "meters", "centimetres", "centimeters", "millimetres", "millimeters",
    "kilometres", "kilometers", "feet", "ft", "inches", "yards", "miles", "acres", "hectares",
    "g", "kg", "mg", "grams", "kilograms", "tonnes", "tons", "ounces", "l", "ml", "litres", "liters", "gallons",
    "ms", "s", "seconds", "min", "minutes", "h", "hours", "days", "weeks", "months", "years", "am", "pm", "o'clock",
    "\u00b0", "\u00b0C", "\u00b0F", "degrees", "volts", "watts", "kilowatts", "kW", "MW", "amperes", "hertz", "Hz",
    "kHz", "MHz", "bar", "knots", "bytes", "kB", "MB", "GB", "TB", "pages", "people", "points",
)  # fmt: skip
"""Words that belong to the number before them."""

FRAME = frozenset(
    """
    above accepted accepts achieved across acted acts added adjusted admitted adopted adopts afterwards against ago
    agreed allotted already also altered altogether always amended amount amounted amounts announced answered anyone
    anyway anywhere apparently appeared appears application applied applies approved archive arrived arrives aside
    asks assigned assured awarded away back bar bears became become becomes bed began begin beginning begins behalf
    belief believe believed believes belonged belonging belongs below better board book bore bought box bring brings
    broke brought built call called calls came cannot carried carries case catalogue change changed changing checked
    chose chosen cites claimed claims clear clearly clerk clock closed come comes company conference confirmed
    confirms consider considered considers consist consisted consists contact contained containing contains
    continued continues contract converted copied corrected correction correctly cost council count counts course
    cut cuts dark date day days dead decade decided decides declared define defined defines demanded denied denies
    denotes deny describe described describes determine determined determines developed die differ different differs
    directly discovered discovers discussed display displays divided document don done door doubled doubling doubt
    doubtful doubts down dropped easily easy effective eight eleven else empty end ended ends enough enter entered
    entire entirely entry equal equals especially established estimated evening eventually ever exact example
    exchanged expect expectations expected expects explain explained explains extended face fact failed fails fall
    falls false far father feet fell fewer fifth fifty file filed fill filled fills finds finish finished five fixed
    follow followed following follows forget forgot forgotten form formal former forty found founded four fourth
    fresh front full fully future gained general gets go goes going gone good got granted great grew grow grown
    grows guide half halfway halved hand handed hands happened happens hardly hat having he head heard held herself
    highest himself hold holds hour hours house hundred identified improved include included includes including
    increased indeed informed inquired insisted instance instead intended introduced issued itself join joined
    jumped keep keeps kept kind kinds knew knows lack lacks largest lasted lastly late latter lay lead leads learned
    least leave leaves led ledger left lent less letter lies lifted likely line linked list lists little live lived
    lives lock log long longer looked lose lost lot lower lowered lowest machine made main maintain maintained
    maintains major make makes man manager manual marked marking marks may mean means meant meantime meeting mention
    mentions merely mid middle midnight miles million mind mine minute minutes missing mistake modified month
    monthly more moreover morning move moved moves must name named namely names naturally near nearby nearly needs
    newly news newspaper night nine none noon note noted notes notice nowadays nowhere number observed obtain
    obtained obvious obviously occur occurred off offered offers office official officially oh old one ones onwards
    open opened operates opposite order original originally others otherwise ought ours ourselves overall own owned
    owner owns page paper part partly passed past pay pays people person picked piece place places plan plate
    possible possibly poster precisely preferred prefers presents presumably previous printed prior private probably
    promise promised promises proper proposed proved provided provides public published pulled pushed put puts
    quarter quickly quietly quite quote quoted quotes raise raised raises reach reached reads real really reason
    recalled received recently record records red redefined reduce reduced refers refuse refused regarded register
    registered regular reject rejected rely remain remained remains remarked remember remembered remembers reminder
    remove removed renamed renovation repeated replace replaced replaces replied report reported reports require
    required requires reset respective respectively rest result return returned reveal revealed revised right ring
    rise risen rises road room rose round ruled run runs same sat save saved saw saying school scrapped sea second
    seconds secret section see seem seemed seems seen selected sell sells send sends sent served serves set settled
    seven share sheet shifted short shortened shortly showed shown shows shrank shrunk side sign signed similar
    simply single six sixth sixty slightly slowly small smaller sold somehow something sometimes somewhere sort
    sound speak speaks specified specifies spoke spoken spread spring staff stamped stand stands started starting
    states stayed stays stood stop stopped straight strictly subsequent subsequently suddenly suggest suggested
    suggests summer superseded suppose supposed sure surprise surprised surprisingly swapped switch switched table
    take taken takes taking talk talked teach teaches temporarily temporary ten tenth theirs themselves therefore
    thing things thinks third thirty thought three throughout till time times tonight too took top total totally
    totals transferred tried tries true trust truth try turn turned turns twelve twenty twice two type typed
    ultimately unchanged unclear unexpected unexpectedly unknown update updated upgraded upon uses usual usually
    valid value values various verified verify visit visited visits wait waited walk walked wanted wants war water
    way week weekly well went whatever whenever whereas wherever whichever whoever whole widely winter wished won
    wonder wondered word wore works write written wrong wrongly wrote year yearly years zero
    """.split()  # noqa: SIM905 - quoted one by one they would fill twice the lines
)
"""Further words that sentences are built with: they state, change, deny, place in time."""

TITLES = ("Mr", "Mrs", "Ms", "Dr", "St", "Prof", "Rev", "Hon", "Capt", "Col", "Gen", "Lt", "Sgt", "Fr", "Mt", "No")
"""Abbreviations that end no sentence and stand before a name."""

MONTHS = frozenset((
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December", "Jan", "Feb", "Mar", "Apr", "Jun", "Jul", "Aug", "Sept", "Sep", "Oct", "Nov", "Dec",
))  # fmt: skip

"""Turns symbol graphs into lines of text: a path and a declaration each, without documentation."""

# Nearly every type conforms to these without a word in its source.
IMPLICIT = {"Swift.Copyable", "Swift.Escapable", "Swift.SendableMetatype"}
REQUIREMENT = " [requirement]"
DEFAULTED = " [requirement with a default]"
DEFAULT = " [default]"
UNAVAILABLE = "unavailable"
DEPRECATED = "deprecated"


def lines(graphs):
    """Returns the sorted lines of a module's graphs, each "path: declaration"."""
    names, relations = {}, []
    for graph in graphs:
        for symbol in graph["symbols"]:
            names[symbol["identifier"]["precise"]] = path(symbol)
        relations += graph["relationships"]
    add_extended(names, relations)
    found = set()
    notes = protocol_notes(relations)
    for graph in graphs:
        for symbol in graph["symbols"]:
            note = notes.get(symbol["identifier"]["precise"], "")
            found.add((path(symbol), 0, declaration(symbol) + note))
            found.update((path(symbol), 1, text) for text in availability(symbol))
    found.update((source, 2, text) for source, text in conformances(relations, names))
    return [f"{source}: {text}" for source, _, text in sorted(found)]


def add_extended(names, relations):
    """Adds the types of other modules, which have no symbol here but members."""
    for one in relations:
        if one["kind"] == "memberOf" and one["source"] in names:
            names.setdefault(one["target"], names[one["source"]].rpartition(".")[0])


def path(symbol):
    return ".".join(symbol["pathComponents"])


def declaration(symbol):
    text = "".join(part["spelling"] for part in symbol["declarationFragments"])
    return " ".join(text.split()) + constraints(symbol)


def constraints(symbol):
    """Returns the conditions of the extension, unless the declaration itself repeats them."""
    extension = symbol.get("swiftExtension", {})
    text = where(extension.get("constraints", []))
    return f" [extension{text}]" if text else ""


def where(conditions):
    signs = {"sameType": "==", "conformance": ":", "superclass": ":"}
    parts = [f"{one['lhs']} {signs[one['kind']]} {one['rhs']}" for one in conditions]
    return f" where {', '.join(parts)}" if parts else ""


def availability(symbol):
    for one in symbol.get("availability", []):
        kinds = [(UNAVAILABLE, "isUnconditionallyUnavailable"),
                 (DEPRECATED, "isUnconditionallyDeprecated")]
        for word, key in kinds:
            if one.get(key):
                yield ": ".join([word] + [one[key] for key in ("renamed", "message") if key in one])


def protocol_notes(relations):
    """Returns a note for each requirement of a protocol and each default, by its identifier."""
    defaults = {one["source"]: one["target"] for one in relations
                if one["kind"] == "defaultImplementationOf"}
    defaulted = set(defaults.values())
    needed = {one["source"] for one in relations if one["kind"] == "requirementOf"}
    notes = {one: DEFAULTED if one in defaulted else REQUIREMENT for one in needed}
    return notes | {one: DEFAULT for one in defaults}


def conformances(relations, names):
    verbs = {"conformsTo": "conforms to", "inheritsFrom": "inherits from"}
    for one in relations:
        if one["kind"] not in verbs or one.get("targetFallback") in IMPLICIT:
            continue
        source = names.get(one["source"])
        target = names.get(one["target"], one.get("targetFallback", one["target"]))
        if source is not None:
            condition = where(one.get("swiftConstraints", []))
            yield source, f"{verbs[one['kind']]} {target.removeprefix('Swift.')}{condition}"

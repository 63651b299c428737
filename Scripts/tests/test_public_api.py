"""Tests of the comparison of public declarations with their record, and of its extraction."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPTS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(SCRIPTS))

from public_api import comparison, declarations, modules  # noqa: E402

SOURCE = """
/// A comment is no part of the record.
public protocol Handler: Sendable {
    func onTraffic(_ count: Int) throws -> Bool
    func onClose()
}
extension Handler { public func onClose() {} }
public struct Thing: Hashable {
    public private(set) var size = 1
    package var inner: Int { 2 }
    public func _under() {}
    @discardableResult
    public func go<T: Sequence>(
        _ values: T, times: Int = 3
    ) -> Int where T.Element == UInt8 { times }
    public subscript(place: Int) -> Int { place }
}
public enum Closed: Sendable { case one, two(Int) }
@available(*, deprecated, renamed: "Thing", message: "it has a new name")
public typealias Old = Thing
extension Array where Element == UInt8 { public init(copying text: String) { self = [] } }
extension Array: Handler where Element == Int {
    public func onTraffic(_ count: Int) -> Bool { true }
}
"""
RECORD = """\
Array: conforms to Handler where Element == Int
Array: conforms to Sendable where Element == Int
Array.init(copying:): init(copying text: String) [extension where Element == UInt8]
Array.onTraffic(_:): func onTraffic(_ count: Int) -> Bool [extension where Element == Int]
Closed: enum Closed
Closed: conforms to Sendable
Closed.one: case one
Closed.two(_:): case two(Int)
Handler: protocol Handler : Sendable
Handler: conforms to Sendable
Handler.onClose(): func onClose() [default]
Handler.onClose(): func onClose() [requirement with a default]
Handler.onTraffic(_:): func onTraffic(_ count: Int) throws -> Bool [requirement]
Old: typealias Old = Thing
Old: deprecated: Thing: it has a new name
Thing: struct Thing
Thing: conforms to Equatable
Thing: conforms to Hashable
Thing.go(_:times:): @discardableResult func go<T>(_ values: T, times: Int = 3) -> Int where T : \
Sequence, T.Element == UInt8
Thing.size: var size: Int { get }
Thing.subscript(_:): subscript(place: Int) -> Int { get }
"""


def extracted(source):
    """Compiles a module in the layout of a build, and returns its lines."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "Modules").mkdir()
        (folder / "Small.swift").write_text(source)
        subprocess.run(
            [modules.SWIFT[0] + "c", *modules.SWIFT[1:], "-emit-module", "-module-name", "Small",
             "-package-name", "small", "-swift-version", "6", "-emit-module-path",
             folder / "Modules/Small.swiftmodule", folder / "Small.swift"], check=True)
        info = subprocess.run([*modules.SWIFT, "-print-target-info"], check=True, text=True,
                              stdout=subprocess.PIPE).stdout
        target = info.split('"triple": "')[1].split('"')[0]
        files = modules.extract("Small", folder, target, folder / "graphs")
        return declarations.lines(modules.load(files))


def differences(before, after):
    return comparison.compare(before.strip().splitlines(), after.strip().splitlines())


class ExtractionTests(unittest.TestCase):
    def test_declarations_of_a_module_are_lines_without_comments(self):
        self.assertEqual("\n".join(extracted(SOURCE)) + "\n", RECORD)

    def test_a_module_that_is_not_built_is_named_with_the_remedy(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            with self.assertRaisesRegex(modules.Failure, "Absent is not built .* --built"):
                modules.extract("Absent", folder, "x86_64-unknown-linux-gnu", folder)


class ComparisonTests(unittest.TestCase):
    def test_equal_records_have_no_difference(self):
        self.assertEqual(differences(RECORD, RECORD), ([], []))

    def test_a_removed_declaration_is_a_break(self):
        for line in RECORD.strip().splitlines():
            if ": deprecated" in line or "[" in line:
                continue
            found = differences(RECORD, RECORD.replace(line + "\n", ""))
            self.assertEqual(found, ([f"removed {line}"], []))

    def test_a_changed_declaration_is_a_break_with_both_forms(self):
        found = differences(RECORD, RECORD.replace("times: Int = 3)", "times: Int)"))
        self.assertEqual(len(found.breaks), 1)
        self.assertRegex(found.breaks[0],
                         r"changed Thing.go.*\n    from .*= 3\) .*\n    to .*times: Int\) ")
        self.assertEqual(found.additions, [])

    def test_one_of_two_overloads_that_is_removed_is_a_break(self):
        before = "A.go(): func go() -> Int\nA.go(): func go() -> String"
        self.assertEqual(differences(before, "A.go(): func go() -> Int"),
                         (["removed A.go(): func go() -> String"], []))

    def test_an_added_declaration_is_an_addition(self):
        for line in ("Thing.more: var more: Int { get }", "Thing: conforms to Sendable",
                     "New: struct New", "Thing.size: deprecated: width", "Handler.go(): func go()"):
            self.assertEqual(differences(RECORD, RECORD + line), ([], [line]))

    def test_an_added_requirement_is_a_break_unless_it_has_a_default(self):
        line = "Handler.onOpen(): func onOpen() [requirement{}]"
        found = differences(RECORD, RECORD + line.format(""))
        self.assertRegex(found.breaks[0], "added Handler.onOpen.*\n    .*give it a default")
        self.assertEqual(differences(RECORD, RECORD + line.format(" with a default")).breaks, [])

    def test_a_default_that_is_added_is_an_addition_and_a_removed_one_a_break(self):
        without = "P.go(): func go() [requirement]"
        having = "P.go(): func go() [default]\nP.go(): func go() [requirement with a default]"
        self.assertEqual(differences(without, having).breaks, [])
        self.assertNotEqual(differences(having, without).breaks, [])

    def test_an_added_case_is_a_break_if_the_enum_is_exhaustive(self):
        line = "Closed.three: case three"
        found = differences(RECORD, RECORD + line)
        self.assertRegex(found.breaks[0], "added Closed.three.*\n    .*exhaustive")
        open_enum = RECORD.replace("Closed: enum", "Closed: @nonexhaustive enum")
        self.assertEqual(differences(open_enum, open_enum + line), ([], [line]))
        self.assertEqual(differences(RECORD, RECORD + "New: enum New\nNew.a: case a").breaks, [])

    def test_a_declaration_that_becomes_unavailable_is_a_break(self):
        found = differences(RECORD, RECORD + "Thing.size: unavailable: use width")
        self.assertRegex(found.breaks[0], "added Thing.size: unavailable")

    def test_a_deprecation_that_ends_is_no_break(self):
        line = "Old: deprecated: Thing: it has a new name"
        self.assertEqual(differences(RECORD, RECORD.replace(line + "\n", "")).breaks, [])


if __name__ == "__main__":
    unittest.main()

import CLinux
import Glibc

/// An errno and the call that gave it.
@usableFromInline
package struct SystemError: Error, Hashable, Sendable {
    @usableFromInline package let number: Int32
    /// For people only, so two errors with one number are equal.
    package let call: StaticString

    package init(_ number: Int32, _ call: StaticString) {
        self.number = number
        self.call = call
    }

    @usableFromInline package static func == (one: SystemError, other: SystemError) -> Bool {
        one.number == other.number
    }

    @usableFromInline package func hash(into hasher: inout Hasher) { hasher.combine(number) }
}

extension SystemError: CustomStringConvertible {
    /// "EADDRINUSE".
    package var name: String {
        mr_errno_name(number).map { String(cString: $0) } ?? "errno \(number)"
    }

    /// "address already in use".
    package var message: String { String(cString: strerror(number)).lowercased() }

    @usableFromInline package var description: String { "\(call): \(message) (\(name))" }
}

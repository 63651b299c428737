import CLinux
import Glibc

/// An errno and the call that gave it.
@usableFromInline
package struct SystemError: Error, Hashable, Sendable {
    /// Where the call's name lies: a literal, which never goes. A whole StaticString would make a
    /// completion too large to be returned in registers.
    private let callAddress: UInt
    @usableFromInline package let number: Int32

    package init(_ number: Int32, _ call: StaticString) {
        self.number = number
        callAddress = UInt(bitPattern: call.utf8Start)
    }

    /// For people only, so two errors with one number are equal.
    package var call: String {
        UnsafePointer<CChar>(bitPattern: callAddress).map { String(cString: $0) } ?? ""
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

import CMillraceLinux
import Glibc

/// An errno and the call that returned it.
@usableFromInline
package struct SystemError: Error, Hashable, Sendable {
    /// The address of the call's name, a literal that is never freed. With a whole StaticString, a
    /// completion would be too large to be returned in registers.
    private let callAddress: UInt
    @usableFromInline package let number: Int32

    package init(_ number: Int32, _ call: StaticString) {
        self.number = number
        callAddress = UInt(bitPattern: call.utf8Start)
    }

    /// The name of the call. Not compared: two errors with the same number are equal.
    package var call: String {
        UnsafePointer<CChar>(bitPattern: callAddress).map { String(cString: $0) } ?? ""
    }

    /// The machine does not have the address, or not its family.
    package var isAboutAddress: Bool { number == EADDRNOTAVAIL || number == EAFNOSUPPORT }

    @usableFromInline package static func == (one: SystemError, other: SystemError) -> Bool {
        one.number == other.number
    }

    @usableFromInline package func hash(into hasher: inout Hasher) { hasher.combine(number) }
}

extension SystemError: CustomStringConvertible {
    /// The errno's name, such as "EADDRINUSE".
    package var name: String {
        mr_errno_name(number).map { String(cString: $0) } ?? "errno \(number)"
    }

    /// The errno's text, such as "address already in use".
    package var message: String { String(cString: strerror(number)).lowercased() }

    @usableFromInline package var description: String { "\(call): \(message) (\(name))" }
}

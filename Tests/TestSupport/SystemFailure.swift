/// A failed system call that a test needs.
import Glibc

public struct SystemFailure: Error, CustomStringConvertible {
    public let call: String
    public let number: CInt

    public init(_ call: String, _ number: CInt = errno) {
        self.call = call
        self.number = number
    }

    public var description: String { "\(call): \(String(cString: strerror(number)))" }
}

internal import EventLoop
internal import Synchronization

/// A typed variable that every connection has its own copy of. Declare it in the handler:
/// `let count = PerConnection(0)`, then `connection[count] += 1`.
///
/// Made on first use, on the connection's loop, and destroyed after `onClose`; values are changed
/// in place and need not be Sendable.
public final class PerConnection<Value>: Sendable {
    let number = PerConnectionNumbers.next()
    private let make: @Sendable (Connection) -> Value

    /// Each connection starts with `initial`, evaluated anew for each.
    public init(_ initial: @autoclosure @escaping @Sendable () -> Value) {
        make = { _ in initial() }
    }

    /// Each connection starts with what `make` returns for it.
    public init(make: @escaping @Sendable (Connection) -> Value) { self.make = make }

    fileprivate func box(for connection: Connection) -> PerConnectionBox<Value> {
        if let details = connection.details {
            for entry in details.values where entry.variable == number {
                return unsafeDowncast(entry.box, to: PerConnectionBox<Value>.self)
            }
        }
        // Made before it is stored: `make` may use other variables of the same connection.
        let box = PerConnectionBox(make(connection))
        connection.details?.values.append((number, box))
        return box
    }
}

enum PerConnectionNumbers {
    private static let last = Atomic(0)

    static func next() -> Int { last.add(1, ordering: .relaxed).newValue }
}

private final class PerConnectionBox<Value> {
    @exclusivity(unchecked) var value: Value

    init(_ value: Value) { self.value = value }
}

extension Connection {
    /// This connection's copy of a variable. After the close: a fresh one each time, so that
    /// nothing is kept.
    public subscript<Value>(_ variable: PerConnection<Value>) -> Value {
        get { variable.box(for: self).value }
        nonmutating _modify { yield &variable.box(for: self).value }
    }
}

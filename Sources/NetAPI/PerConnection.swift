internal import MillraceEventLoop
internal import Synchronization

/// A typed variable of which every connection has its own copy. Declare it in the handler:
/// `let count = PerConnection(0)`, then `connection[count] += 1`.
///
/// A copy is made on first use, on the connection's loop, and destroyed after `onClose`. Values are
/// changed in place and need not be Sendable. Code that changes a copy in place must not use the
/// same copy meanwhile: that ends the program.
public final class PerConnection<Value>: Sendable {
    let number = PerConnectionNumbers.next()
    private let make: @Sendable (Connection) -> Value

    /// Creates a variable whose copies start with `initial`, evaluated anew for each connection.
    public init(_ initial: @autoclosure @escaping @Sendable () -> Value) {
        make = { _ in initial() }
    }

    /// Creates a variable whose copies start with the value that `make` returns for the connection.
    public init(make: @escaping @Sendable (Connection) -> Value) { self.make = make }

    @usableFromInline
    func box(for connection: Connection) -> PerConnectionBox<Value> {
        if let box = madeBox(for: connection) {
            return unsafeDowncast(box, to: PerConnectionBox<Value>.self)
        }
        // Made before it is stored: `make` may use other variables of the same connection.
        let box = PerConnectionBox(make(connection))
        connection.details?.values.append((number, box))
        return box
    }

    /// Returns the existing box without reference counting: the connection keeps its details.
    @inline(__always)
    private func madeBox(for connection: Connection) -> AnyObject? {
        guard connection.isCurrent, let details = connection.record.details else {
            return nil
        }
        return details._withUnsafeGuaranteedRef { $0.box(of: number) }
    }
}

enum PerConnectionNumbers {
    private static let last = Atomic(0)

    static func next() -> Int { last.add(1, ordering: .relaxed).newValue }
}

@usableFromInline
final class PerConnectionBox<Value> {
    @usableFromInline @exclusivity(unchecked) var value: Value
    /// Set during a change in place. Checked by hand: the dynamic check costs more than most
    /// changes, and without a check the value could be torn.
    @usableFromInline @exclusivity(unchecked) var isChanging = false

    init(_ value: Value) { self.value = value }
}

extension Connection {
    /// This connection's copy of a variable. After the close every access gets a new one, so that
    /// nothing is kept.
    public subscript<Value>(_ variable: PerConnection<Value>) -> Value {
        // Inlined, so that a value is not moved by way of its type's metadata.
        @inlinable get {
            let box = variable.box(for: self)
            precondition(!box.isChanging, "a per-connection variable is read while it is changed")
            return box.value
        }
        nonmutating set {
            let box = variable.box(for: self)
            precondition(!box.isChanging, "a per-connection variable is set while it is changed")
            // Released last: the old value may use this variable as it goes.
            var old = newValue
            swap(&old, &box.value)
        }
        nonmutating _modify {
            let box = variable.box(for: self)
            precondition(!box.isChanging, "a per-connection variable is changed inside a change")
            box.isChanging = true
            defer { box.isChanging = false }
            yield &box.value
        }
    }
}

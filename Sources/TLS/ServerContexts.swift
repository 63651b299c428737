internal import CMillraceTLS
internal import MillraceEventLoop
internal import NetAPI

/// A loop's contexts: one for each identity, and the choice among them by the client's name.
///
/// A connection in its handshake holds them, since the library asks for the choice then.
final class ServerContexts: Sendable {
    typealias Make = @Sendable (TLSIdentity, TLSLibrary) throws(NetError) -> TLSContext
    typealias Select = @Sendable (String) -> TLSIdentity?

    /// For clients without a known name.
    let first: TLSContext
    private let exact: [String: TLSContext]
    /// By the name behind the star: `*.example.org` is for one label in front.
    private let wildcards: [String: TLSContext]
    private let select: Select?
    private let make: Make
    private let library: TLSLibrary
    private let found = Monitor<[String: TLSContext]>([:])

    /// Far more names than a busy process serves at a time. Above it, all are forgotten.
    private static let mostFound = 4096

    init(
        _ identities: [TLSIdentity], _ library: TLSLibrary, select: Select?,
        make: @escaping Make
    ) throws(NetError) {
        var exact: [String: TLSContext] = [:]
        var wildcards: [String: TLSContext] = [:]
        var first: TLSContext?
        for identity in identities {
            let context = try make(identity, library)
            if first == nil { first = context }
            for name in identity.names {
                if name.hasPrefix("*.") {
                    wildcards[String(name.dropFirst(2))] =
                        wildcards[String(name.dropFirst(2))] ?? context
                } else {
                    exact[name] = exact[name] ?? context
                }
            }
        }
        guard let first else { preconditionFailure("no identity") }
        self.first = first
        self.exact = exact
        self.wildcards = wildcards
        self.select = select
        self.make = make
        self.library = library
        guard identities.count > 1 || select != nil else { return }
        mr_tls_set_choice(
            first.pointer,
            { object, name in
                let contexts = Unmanaged<ServerContexts>.fromOpaque(object).takeUnretainedValue()
                return contexts.context(for: String(cString: name).lowercased())?.pointer
            }, Unmanaged.passUnretained(self).toOpaque())
    }

    /// Returns the context for a name; nil: the first.
    private func context(for name: String) -> TLSContext? {
        if let context = exact[name] { return context }
        if let dot = name.firstIndex(of: "."),
            let context = wildcards[String(name[name.index(after: dot)...])]
        {
            return context
        }
        guard let select else { return nil }
        if let context = found.withLock({ $0[name] }) { return context }
        // Outside the lock: the closure is the program's.
        guard let identity = select(name), let context = try? make(identity, library) else {
            return nil
        }
        found.withLock { found in
            if found.count >= Self.mostFound { found.removeAll() }
            found[name] = context
        }
        return context
    }
}

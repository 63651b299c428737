internal import CMillraceTLS
internal import MillraceEventLoop
internal import NetAPI

/// A loop's contexts: one for each identity, and the choice among them by the client's name.
///
/// A connection in its handshake holds them, since the library asks for the choice then.
final class ServerContexts: Sendable {
    /// The parts of which contexts are made. No server, which holds the contexts.
    struct Maker: Sendable {
        let settings: TLSServer.Settings
        let tickets: TicketKeys?
        let select: (@Sendable (String) -> TLSIdentity?)?
    }

    /// For clients without a known name.
    let first: TLSContext
    private let exact: [String: TLSContext]
    /// By the name behind the star: `*.example.org` is for one label in front.
    private let wildcards: [String: TLSContext]
    private let maker: Maker
    private let library: TLSLibrary
    private let found = Monitor(FoundContexts())

    init(
        _ identities: [TLSIdentity], _ maker: Maker, loop: Int
    ) throws(NetError) {
        let library = try TLSLibrary.of(loop: loop)
        var exact: [String: TLSContext] = [:]
        var wildcards: [String: TLSContext] = [:]
        var first: TLSContext?
        for identity in identities {
            let context = try maker.make(identity, library)
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
        guard let first else {
            throw .invalidSetting("the list of identities", "empty", "give at least one")
        }
        self.first = first
        self.exact = exact
        self.wildcards = wildcards
        self.maker = maker
        self.library = library
        guard identities.count > 1 || maker.select != nil else { return }
        mr_tls_set_choice(
            first.pointer,
            { object, name in
                let contexts = Unmanaged<ServerContexts>.fromOpaque(object).takeUnretainedValue()
                guard let context = contexts.context(for: String(cString: name))
                else { return nil }
                // Another thread may drop it before the library has it.
                SSL_CTX_up_ref(context.pointer)
                return context.pointer
            }, Unmanaged.passUnretained(self).toOpaque())
    }

    /// Returns the context for a name; nil: the first.
    private func context(for asked: String) -> TLSContext? {
        // Some clients send the root's dot, which RFC 6066 forbids.
        let name = (asked.hasSuffix(".") ? String(asked.dropLast()) : asked).lowercased()
        if let context = exact[name] { return context }
        if let dot = name.firstIndex(of: "."),
            let context = wildcards[String(name[name.index(after: dot)...])]
        {
            return context
        }
        guard let select = maker.select else { return nil }
        if let context = found.withLock({ $0.names[name] }) { return context }
        // Outside the lock: the closure is the program's.
        guard let identity = select(name) else { return nil }
        let known = found.withLock { $0.contexts[identity.content] }
        guard let context = known ?? (try? maker.make(identity, library)) else { return nil }
        // A context that makes room is freed behind the lock.
        let (kept, dropped) = found.withLock { $0.keep(context, of: identity, for: name) }
        _ = dropped
        return kept
    }
}

/// The answers of `select`. Clients choose the names, so names with one identity share a context,
/// and only so many of each are kept.
private struct FoundContexts {
    private(set) var contexts: [TLSIdentity.Content: TLSContext] = [:]
    private(set) var names: [String: TLSContext] = [:]

    private static let mostContexts = 1024
    private static let mostNames = 4096

    /// Returns the context to use, and the one that made room for it.
    mutating func keep(
        _ made: TLSContext, of identity: TLSIdentity, for name: String
    ) -> (kept: TLSContext, dropped: TLSContext?) {
        let known = contexts[identity.content]
        var dropped: TLSContext?
        if known == nil {
            if contexts.count >= Self.mostContexts, let one = contexts.popFirst()?.value {
                names = names.filter { $0.value !== one }
                dropped = one
            }
            contexts[identity.content] = made
        }
        if names.count >= Self.mostNames { _ = names.popFirst() }
        names[name] = known ?? made
        return (known ?? made, dropped)
    }
}

extension ServerContexts.Maker {
    /// Makes the context of one identity.
    func make(_ identity: TLSIdentity, _ library: TLSLibrary) throws(NetError) -> TLSContext {
        let context = try TLSContext(isServer: true, library: library)
        try context.apply(settings)
        try context.use(identity)
        try context.set(
            protocols: settings.applicationProtocols,
            refuses: settings.withoutCommonProtocol == .refuse)
        switch settings.clientCertificates {
        case .none: break
        case .optional(let trust):
            try context.trust(trust)
            mr_tls_verify(context.pointer, true, false, trust.verifies)
        case .required(let trust):
            try context.trust(trust)
            mr_tls_verify(context.pointer, true, true, trust.verifies)
        }
        mr_tls_set_tickets(
            context.pointer, tickets?.pointer, Int32(settings.ticketsPerHandshake))
        // A session of clients that were verified otherwise must not open here: a resumed session
        // verifies nothing again. Not of the identities: tickets outlive a renewed certificate, and
        // open at other processes, which may list them in another order.
        let purpose = Array(settings.verification.utf8)
        guard mr_tls_set_session_id(context.pointer, purpose, purpose.count) else {
            throw .fromLibrary("tickets")
        }
        return context
    }
}

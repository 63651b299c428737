import RESPCodec

// SUBSCRIBE and UNSUBSCRIBE, their variants for patterns, and PUBLISH.
extension Command {
    static let channels = [
        forSubscribers("subscribe", -2) { call in
            for index in 1..<call.count { subscribe(call, call[index], .channel) }
        },
        forSubscribers("unsubscribe", -1) { unsubscribe($0, .channel) },
        forSubscribers("psubscribe", -2) { call in
            for index in 1..<call.count { subscribe(call, call[index], .pattern) }
        },
        forSubscribers("punsubscribe", -1) { unsubscribe($0, .pattern) },
        Command("publish", 3) { call in
            let count = call.database.hub.publish(call[2], to: call[1], by: call.session)
            call.reply.integer(count)
        },
    ]

    private static func subscribe(
        _ call: Call, _ name: UnsafeRawBufferPointer, _ kind: Subscription.Kind
    ) {
        let session = call.session
        if let number = session.join(name, kind) {
            call.database.hub.subscribe(session, to: [UInt8](name), kind, number: number)
        }
        confirm(call, kind == .channel ? "subscribe" : "psubscribe", name)
    }

    private static func unsubscribe(_ call: Call, _ kind: Subscription.Kind) {
        let session = call.session
        let all = kind == .channel ? session.channels : session.patterns
        if call.count > 1 {
            for index in 1..<call.count { leave(call, call[index], kind) }
        } else if all.isEmpty {
            call.reply.push(3)
            call.reply.bulk(left(kind))
            call.reply.null()
            call.reply.integer(session.subscribed)
        } else {
            for name in all.keys { name.withBytes { leave(call, $0, kind) } }
        }
    }

    private static func leave(
        _ call: Call, _ name: UnsafeRawBufferPointer, _ kind: Subscription.Kind
    ) {
        if call.session.leave(name, kind) {
            call.database.hub.unsubscribe(call.session, from: [UInt8](name), kind)
        }
        confirm(call, left(kind), name)
    }

    private static func left(_ kind: Subscription.Kind) -> String {
        kind == .channel ? "unsubscribe" : "punsubscribe"
    }

    private static func confirm(
        _ call: Call, _ action: String, _ name: UnsafeRawBufferPointer
    ) {
        call.reply.push(3)
        call.reply.bulk(action)
        call.reply.bulk(name)
        call.reply.integer(call.session.subscribed)
    }
}

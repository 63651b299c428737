import RESPCodec

// SUBSCRIBE, UNSUBSCRIBE, PUBLISH.
extension Command {
    static let channels = [
        forSubscribers("subscribe", -2) { call in
            for index in 1..<call.count { subscribe(call, call[index]) }
        },
        forSubscribers("unsubscribe", -1) { unsubscribe($0) },
        Command("publish", 3) { call in
            call.reply.integer(call.database.hub.publish(call[2], to: call[1]))
        },
    ]

    private static func subscribe(_ call: Call, _ channel: UnsafeRawBufferPointer) {
        let session = call.session
        if let subscription = session.join(channel) {
            call.database.hub.subscribe(
                session.id, to: [UInt8](channel), subscription, session.deliver)
        }
        confirm(call, "subscribe", channel)
    }

    private static func unsubscribe(_ call: Call) {
        let session = call.session
        if call.count > 1 {
            for index in 1..<call.count { leave(call, call[index]) }
        } else if session.channels.isEmpty {
            call.reply.push(3)
            call.reply.bulk("unsubscribe")
            call.reply.null()
            call.reply.integer(0)
        } else {
            for channel in session.channels.keys { channel.withBytes { leave(call, $0) } }
        }
    }

    private static func leave(_ call: Call, _ channel: UnsafeRawBufferPointer) {
        if call.session.leave(channel) {
            call.database.hub.unsubscribe(call.session.id, from: [UInt8](channel))
        }
        confirm(call, "unsubscribe", channel)
    }

    private static func confirm(
        _ call: Call, _ name: String, _ channel: UnsafeRawBufferPointer
    ) {
        call.reply.push(3)
        call.reply.bulk(name)
        call.reply.bulk(channel)
        call.reply.integer(call.session.channels.count)
    }
}

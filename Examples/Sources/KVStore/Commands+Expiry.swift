import RESPCodec

// EXPIRE, TTL and the other commands on the expiry of keys.
extension Command {
    static let expiries = [
        Command("expire", -3) { expire($0, .seconds) },
        Command("pexpire", -3) { expire($0, .milliseconds) },
        Command("expireat", -3) { expire($0, .momentInSeconds) },
        Command("pexpireat", -3) { expire($0, .momentInMilliseconds) },
        Command("expiretime", 2) { end($0) { roundedSeconds($0) } },
        Command("pexpiretime", 2) { end($0) { $0 } },
        Command("ttl", 2) { left($0) { roundedSeconds($0) } },
        Command("pttl", 2) { left($0) { $0 } },
        Command("persist", 2) { call in
            call.withEntry { shard, entry in
                guard let entry, entry.expiry != .max else { return call.reply.integer(0) }
                shard.setExpiry(of: entry, .max)
                call.reply.integer(1)
            }
        },
    ]

    private static func roundedSeconds(_ milliseconds: Int) -> Int {
        milliseconds / 1000 + (milliseconds % 1000 >= 500 ? 1 : 0)
    }

    private static func left(_ call: Call, _ unit: (Int) -> Int) {
        end(call) { unit($0 - call.now) }
    }

    private static func end(_ call: Call, _ unit: (Int) -> Int) {
        call.withEntry { _, entry in
            guard let entry else { return call.reply.integer(-2) }
            call.reply.integer(entry.expiry == .max ? -1 : unit(entry.expiry))
        }
    }

    private static func expire(_ call: Call, _ unit: ExpiryTime.Unit) {
        var condition = ExpiryCondition()
        guard condition.read(call), let time = call.number(2) else { return }
        guard let moment = unit.moment(time, call) else {
            return call.reply.error("ERR invalid expire time in '\(call.commandName)' command")
        }
        call.withEntry { shard, entry in
            guard let entry, condition.allows(entry.expiry, moment) else {
                return call.reply.integer(0)
            }
            if moment <= call.now {
                shard.remove(entry)
            } else {
                shard.setExpiry(of: entry, moment)
            }
            call.reply.integer(1)
        }
    }
}

/// The options NX, XX, GT and LT of EXPIRE.
private struct ExpiryCondition {
    var onlyIfNone = false
    var onlyIfAny = false
    var onlyLater = false
    var onlySooner = false

    /// Reads the options; returns false after an error was written.
    mutating func read(_ call: Call) -> Bool {
        for index in 3..<max(3, call.count) {
            if isWord(call[index], "NX") {
                onlyIfNone = true
            } else if isWord(call[index], "XX") {
                onlyIfAny = true
            } else if isWord(call[index], "GT") {
                onlyLater = true
            } else if isWord(call[index], "LT") {
                onlySooner = true
            } else {
                call.reply.error("ERR Unsupported option \(shown(call[index]))")
                return false
            }
        }
        if onlyIfNone, onlyIfAny || onlyLater || onlySooner {
            call.reply.error(
                "ERR NX and XX, GT or LT options at the same time are not compatible")
            return false
        }
        if onlyLater, onlySooner {
            call.reply.error("ERR GT and LT options at the same time are not compatible")
            return false
        }
        return true
    }

    func allows(_ old: Int, _ new: Int) -> Bool {
        if onlyIfNone, old != .max { return false }
        if onlyIfAny, old == .max { return false }
        return !(onlyLater && new <= old) && !(onlySooner && new >= old)
    }
}

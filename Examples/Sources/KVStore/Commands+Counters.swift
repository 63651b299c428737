import RESPCodec

// INCR and related commands, on numbers that are stored as strings.
extension Command {
    static let counters = [
        Command("incr", 2) { add(1, $0) },
        Command("decr", 2) { add(-1, $0) },
        Command("incrby", 3) { call in
            if let amount = call.number(2) { add(amount, call) }
        },
        Command("decrby", 3) { call in
            guard let amount = call.number(2) else { return }
            guard amount != .min else { return call.reply.error("ERR decrement would overflow") }
            add(-amount, call)
        },
        Command("incrbyfloat", 3) { addFloat($0) },
    ]

    private static func addFloat(_ call: Call) {
        call.withKey { shard, hash in
            let found = shard.find(call[1], hash, call.now)
            guard found?.container == nil else { return call.wrongType() }
            guard let old = found.map({ LongDouble(plainText: $0.string.bytes) }) ?? 0,
                let amount = LongDouble(plainText: call[2])
            else { return call.reply.error(Complaint.notFloat) }
            let new = old + amount
            guard new.isFinite else {
                return call.reply.error("ERR increment would produce NaN or Infinity")
            }
            new.withPlainDigits {
                call.reply.bulk($0)
                guard !call.reply.hasOverflowed else { return }
                let entry = found ?? shard.findOrInsert(call[1], hash, call.now)
                entry.setString($0)
            }
        }
    }

    private static func add(_ amount: Int, _ call: Call) {
        call.withKey { shard, hash in
            let found = shard.find(call[1], hash, call.now)
            guard found?.container == nil else { return call.wrongType() }
            guard let old = found.map({ Decimal.parse($0.string.bytes) }) ?? 0
            else { return call.reply.error(Complaint.notInteger) }
            let (new, overflow) = old.addingReportingOverflow(amount)
            guard !overflow else { return call.reply.error(Complaint.overflow) }
            let entry = found ?? shard.findOrInsert(call[1], hash, call.now)
            withDigits(new) { entry.setString($0) }
            call.reply.integer(new)
        }
    }

    /// Calls `body` with the decimal digits of `value`, without making a String. 20 bytes hold
    /// every Int.
    static func withDigits(_ value: Int, _ body: (UnsafeRawBufferPointer) -> Void) {
        withUnsafeTemporaryAllocation(byteCount: 20, alignment: 1) { buffer in
            var rest = value.magnitude
            var start = 20
            repeat {
                start -= 1
                buffer[start] = UInt8(truncatingIfNeeded: rest % 10) + 0x30
                rest /= 10
            } while rest > 0
            if value < 0 {
                start -= 1
                buffer[start] = UInt8(ascii: "-")
            }
            body(UnsafeRawBufferPointer(rebasing: buffer[start...]))
        }
    }
}

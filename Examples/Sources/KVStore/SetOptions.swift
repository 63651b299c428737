import RESPCodec

/// The options that may follow SET's value and GETEX's key.
struct SetOptions {
    var onlyIfAbsent = false
    var onlyIfThere = false
    var keepsExpiry = false
    var returnsOld = false
    /// Whether GETEX has the option PERSIST.
    var isPersistent = false
    var expiry = Int.max

    private let isForReading: Bool
    /// The last argument that is a time.
    private var time: ExpiryTime?

    /// Creates the options of SET, or those of GETEX if `isForReading` is true.
    init(isForReading: Bool = false) { self.isForReading = isForReading }

    /// Reads the options; returns false after an error was written. Like Redis, it reads the time
    /// after all words are known to be valid, and it allows EX and related words more than once.
    mutating func read(_ call: Call) -> Bool { readWords(call) && readTime(call) }

    mutating func readWords(_ call: Call) -> Bool {
        var index = isForReading ? 2 : 3
        while index < call.count {
            let word = call[index]
            if let unit = ExpiryTime.Unit(word), !keepsExpiry, !isPersistent,
                index + 1 < call.count, (time?.unit ?? unit) == unit
            {
                index += 1
                time = ExpiryTime(index: index, unit: unit)
            } else if !(isForReading ? takeReading(word) : take(word)) {
                call.reply.error(Complaint.syntax)
                return false
            }
            index += 1
        }
        return true
    }

    private mutating func take(_ word: UnsafeRawBufferPointer) -> Bool {
        if isWord(word, "NX"), !onlyIfThere {
            onlyIfAbsent = true
        } else if isWord(word, "XX"), !onlyIfAbsent {
            onlyIfThere = true
        } else if isWord(word, "GET") {
            returnsOld = true
        } else if isWord(word, "KEEPTTL"), time == nil {
            keepsExpiry = true
        } else {
            return false
        }
        return true
    }

    private mutating func takeReading(_ word: UnsafeRawBufferPointer) -> Bool {
        guard isWord(word, "PERSIST"), time == nil else { return false }
        isPersistent = true
        return true
    }

    /// Reads the time; returns false after an error was written.
    mutating func readTime(_ call: Call) -> Bool {
        guard let time else { return true }
        guard let moment = time.read(call) else { return false }
        expiry = moment
        return true
    }
}

/// An argument that is a time, in the unit of EX, PX, EXAT or PXAT.
struct ExpiryTime {
    struct Unit: Equatable {
        /// The length of a unit in milliseconds.
        let scale: Int
        /// Whether the time counts from 1970, and not from now.
        let isMoment: Bool

        static let seconds = Unit(scale: 1000, isMoment: false)
        static let milliseconds = Unit(scale: 1, isMoment: false)
        static let momentInSeconds = Unit(scale: 1000, isMoment: true)
        static let momentInMilliseconds = Unit(scale: 1, isMoment: true)

        /// Returns `time` of these units in milliseconds since 1970; nil if no Int holds it.
        /// `Int.max` means no expiry, so it becomes the number before.
        func moment(_ time: Int, _ call: Call) -> Int? {
            let (milliseconds, overflow) = time.multipliedReportingOverflow(by: scale)
            let base = isMoment ? 0 : call.now
            let (moment, overflow2) = milliseconds.addingReportingOverflow(base)
            return overflow || overflow2 ? nil : min(moment, .max - 1)
        }
    }

    let index: Int
    let unit: Unit

    /// Returns milliseconds since 1970; nil after an error was written.
    func read(_ call: Call) -> Int? {
        guard let number = call.number(index) else { return nil }
        if number > 0, let moment = unit.moment(number, call) { return moment }
        call.reply.error("ERR invalid expire time in '\(call.commandName)' command")
        return nil
    }
}

extension ExpiryTime.Unit {
    init?(_ word: UnsafeRawBufferPointer) {
        if isWord(word, "EX") {
            self = .seconds
        } else if isWord(word, "PX") {
            self = .milliseconds
        } else if isWord(word, "EXAT") {
            self = .momentInSeconds
        } else if isWord(word, "PXAT") {
            self = .momentInMilliseconds
        } else {
            return nil
        }
    }
}

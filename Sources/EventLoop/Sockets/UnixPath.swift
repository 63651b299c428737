import CMillraceLinux
import Glibc

/// The socket file of a Unix listener. A dead socket is replaced; any other file is left alone.
enum UnixPath {
    /// Device and inode of a socket at `path`; nil if there is none.
    static func identity(of path: String) -> PathIdentity? {
        var status = stat()
        guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK else { return nil }
        return PathIdentity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
    }

    /// Removes a socket at `path` that has no listener. A bind over a live socket would take over
    /// its clients, so that throws EADDRINUSE. A file that is not a socket is left alone and throws
    /// EEXIST.
    static func makeRoom(_ path: String, _ address: SocketAddress) throws(SystemError) {
        var status = stat()
        guard lstat(path, &status) == 0 else { return }
        guard let found = identity(of: path) else { throw SystemError(EEXIST, "bind") }
        let probe = socket(AF_UNIX, CInt(MR_SOCK_STREAM | MR_SOCK_NONBLOCK | MR_SOCK_CLOEXEC), 0)
        guard probe >= 0 else { throw SystemError(errno, "socket") }
        defer { Glibc.close(probe) }
        let result = try address.withKernelForm { connect(probe, $0, $1) == 0 ? 0 : errno }
        // Any result but a refusal means that a listener exists. For example, a full backlog gives
        // EAGAIN.
        guard result == ECONNREFUSED else { throw SystemError(EADDRINUSE, "bind") }
        // `ifStill`, since a process without the lock may have replaced the file.
        remove(path, ifStill: found)
    }

    /// Unlinks `path` if the socket there has this identity; does nothing without an identity.
    static func remove(_ path: String, ifStill identity: PathIdentity?) {
        if let identity, self.identity(of: path) == identity { unlink(path) }
    }

    /// Sets the mode of a socket that was just bound, since umask may have removed rights. The file
    /// is changed by descriptor, not by name. In a directory that others can write to, the name may
    /// be another process's link by now: that throws EEXIST.
    static func setMode(
        _ mode: mode_t, of path: String, ifStill identity: PathIdentity?
    ) throws(SystemError) {
        let file = open(path, CInt(MR_O_PATH) | O_NOFOLLOW | O_CLOEXEC)
        guard file >= 0 else { throw SystemError(errno, "chmod") }
        defer { Glibc.close(file) }
        var status = stat()
        guard fstat(file, &status) == 0 else { throw SystemError(errno, "chmod") }
        let found = PathIdentity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
        guard found == identity else { throw SystemError(EEXIST, "chmod") }
        guard status.st_mode & 0o777 != mode else { return }
        guard chmod("/proc/self/fd/\(file)", mode) == 0 else { throw SystemError(errno, "chmod") }
    }

    /// The absolute path, which stays valid when the working directory changes. Nil if the current
    /// directory has no name.
    static func absolute(_ path: String) -> String? {
        guard !path.hasPrefix("/") else { return path }
        guard let directory = getcwd(nil, 0) else { return nil }
        defer { free(directory) }
        let text = String(cString: directory)
        // For a directory outside the process's root, getcwd returns a path without a leading
        // slash.
        return text.hasPrefix("/") ? "\(text)/\(path)" : nil
    }

    private static let lockTries = 200
    /// Microseconds between two attempts. All attempts last one second, a thousand times as long as
    /// a start holds the lock.
    private static let lockPause: UInt32 = 5000

    /// Returns a descriptor that locks the path's directory until it is closed. Returns -1 if no
    /// lock can be acquired; the start then continues without it.
    static func lockDirectory(of path: String) -> CInt {
        let slash = path.lastIndex(of: "/")
        let directory = slash.map { String(path[...$0]) } ?? "."
        let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return -1 }
        for _ in 0..<lockTries {
            if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { return descriptor }
            guard errno == EWOULDBLOCK || errno == EINTR else { break }
            usleep(lockPause)
        }
        Glibc.close(descriptor)
        return -1
    }
}

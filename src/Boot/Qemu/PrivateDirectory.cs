// A directory that only this user can enter, short enough for unix sockets (sockaddr_un.sun_path has 108 bytes, unix(7)), which
// goes away with the run. Three things remove it: ktrace when it is done, the watching shell when ktrace was killed, and the next
// run if both were killed (the machine lost power): it holds a lock on a file inside for as long as it lives, so a directory
// whose lock is free is a leftover.
using System.Runtime.InteropServices;
using System.Text;

namespace KTrace.Boot.Qemu;

/// <summary>The private directory of one run.</summary>
internal sealed class PrivateDirectory : IDisposable
{
    private const int SocketPathLimit = 107;
    private const string Prefix = "ktrace-";

    private readonly FileStream held;

    private PrivateDirectory(string path, FileStream held)
    {
        Path = path;
        this.held = held;
    }

    public string Path { get; }

    /// <exception cref="BootException">No directory can be made.</exception>
    public static PrivateDirectory Create()
    {
        var runtime = Environment.GetEnvironmentVariable("XDG_RUNTIME_DIR");
        foreach (var parent in new[] { runtime, "/tmp" })
        {
            if (string.IsNullOrEmpty(parent) || !Directory.Exists(parent)
                || Encoding.UTF8.GetByteCount(parent) + Prefix.Length + 30 > SocketPathLimit)
            {
                continue;
            }

            RemoveLeftovers(parent);
            var template = Encoding.UTF8.GetBytes(System.IO.Path.Combine(parent, Prefix + "XXXXXX") + "\0");
            if (MakeDirectory(template) == 0)
            {
                continue;
            }

            var path = Encoding.UTF8.GetString(template.AsSpan(0, template.Length - 1));
            return new PrivateDirectory(path, new FileStream(System.IO.Path.Combine(path, "lock"), FileMode.CreateNew,
                FileAccess.Write, FileShare.None));
        }

        throw new BootException("no private directory can be made for QEMU's sockets in $XDG_RUNTIME_DIR or /tmp",
            "check free space and permissions there");
    }

    public void Dispose()
    {
        Remove(Path);
        held.Dispose();
    }

    private static void RemoveLeftovers(string parent)
    {
        try
        {
            foreach (var path in Directory.EnumerateDirectories(parent, Prefix + "??????"))
            {
                var lockFile = System.IO.Path.Combine(path, "lock");
                if (!File.Exists(lockFile) || new FileInfo(path).LinkTarget is not null)
                {
                    // Not ours, or made this very moment.
                    continue;
                }

                try
                {
                    using var free = new FileStream(lockFile, FileMode.Open, FileAccess.Write, FileShare.None);
                    Remove(path);
                }
                catch (Exception e) when (e is IOException or UnauthorizedAccessException)
                {
                    // In use, or another user's.
                }
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Cleaning up is a courtesy.
        }
    }

    private static void Remove(string path)
    {
        try
        {
            Directory.Delete(path, recursive: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The watching shell was quicker.
        }
    }

    [DllImport("libc", EntryPoint = "mkdtemp", SetLastError = true)]
    private static extern nint MakeDirectory([In, Out] byte[] template);
}

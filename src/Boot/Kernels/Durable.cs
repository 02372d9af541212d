using System.Runtime.InteropServices;

namespace KTrace.Boot.Kernels;

/// <summary>Puts onto the disk what a later run will trust: file contents first, then the folders that name them
/// (fsync(2)).</summary>
internal static class Durable
{
    private const int DirectoryFlags = 0x10000 | 0x80000;

    public static void SyncTree(string folder)
    {
        foreach (var path in Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories))
        {
            using var file = new FileStream(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
            var modified = File.GetLastWriteTimeUtc(path);
            file.Flush(flushToDisk: true);
            if (File.GetLastWriteTimeUtc(path) != modified)
            {
                File.SetLastWriteTimeUtc(path, modified);
            }
        }

        foreach (var path in Directory.EnumerateDirectories(folder, "*", SearchOption.AllDirectories).Append(folder))
        {
            SyncDirectory(path);
        }
    }

    /// <summary>Errors are ignored: some file systems cannot sync folders, and then there is nothing better to do.</summary>
    public static void SyncDirectory(string path)
    {
        var descriptor = Open(path, DirectoryFlags);
        if (descriptor >= 0)
        {
            _ = Sync(descriptor);
            _ = Close(descriptor);
        }
    }

    [DllImport("libc", EntryPoint = "open", SetLastError = true)]
    private static extern int Open([MarshalAs(UnmanagedType.LPUTF8Str)] string path, int flags);

    [DllImport("libc", EntryPoint = "fsync", SetLastError = true)]
    private static extern int Sync(int descriptor);

    [DllImport("libc", EntryPoint = "close", SetLastError = true)]
    private static extern int Close(int descriptor);
}

// The guest's RAM as a memory file that ktrace can map: -object memory-backend-memfd (QEMU manual, "-object"; backends/hostmem-memfd.c).
// The file has no name: it is reached through /proc/PID/fd of QEMU and is gone with the last who has it, so a small or full /dev/shm,
// a read-only disk or a kill -9 do it no harm. QEMU seals it: nobody can cut it short under whoever has it mapped.
//
// The backend bears the name that these machines give their RAM by themselves, pc.ram: snapshots made with and without it are alike.
using System.Globalization;
using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace KTrace.Boot.Qemu;

/// <summary>Has QEMU share its guest's RAM, and finds the file.</summary>
internal static class RamBackend
{
    private const string Name = "pc.ram";
    private const string FileName = "/memfd:memory-backend-memfd";

    // Whoever gives one of these says how the guest gets its RAM, or resumes a guest whose RAM is known by another name.
    private static readonly string[] Deciding = ["m", "numa", "mem-path", "mem-prealloc", "readconfig", "incoming", "loadvm"];

    /// <summary>Whether it can be added to these arguments without contradicting them.</summary>
    public static bool FitsBeside(IEnumerable<string> arguments) => !arguments.Any(argument =>
        (argument.StartsWith('-') && Deciding.Contains(argument.TrimStart('-')))
        || argument.Contains("memory-backend", StringComparison.Ordinal) || argument.Contains("memory-encryption", StringComparison.Ordinal)
        || argument.Contains("confidential-guest-support", StringComparison.Ordinal));

    /// <param name="megabytes">As -m says.</param>
    public static IEnumerable<string> Arguments(int megabytes) =>
    [
        "-object", string.Create(CultureInfo.InvariantCulture, $"memory-backend-memfd,id={Name},share=on,size={megabytes}M"),
        "-machine", $"memory-backend={Name}",
    ];

    /// <summary>The file, by a path that can be opened for as long as QEMU lives; null when it is not found.</summary>
    /// <param name="connection">A unix socket that QEMU itself has connected: the kernel knows whose it is.</param>
    public static string? FindFile(Socket connection)
    {
        try
        {
            // struct ucred { pid, uid, gid }, unix(7). The pid is QEMU's, not that of the shell which watches it.
            Span<int> credentials = stackalloc int[3];
            const int socketLevel = 1, peerCredentials = 17; // SOL_SOCKET, SO_PEERCRED: asm-generic/socket.h
            connection.GetRawSocketOption(socketLevel, peerCredentials, MemoryMarshal.AsBytes(credentials));
            var files = Directory.EnumerateFiles(string.Create(CultureInfo.InvariantCulture, $"/proc/{credentials[0]}/fd"));
            return files.FirstOrDefault(file => new FileInfo(file).LinkTarget?.StartsWith(FileName, StringComparison.Ordinal) == true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or SocketException)
        {
            return null;
        }
    }
}

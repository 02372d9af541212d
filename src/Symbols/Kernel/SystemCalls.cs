// System calls as a person writes them: arch/x86/entry/syscalls/*.tbl for the names (in table files), the prototypes of
// include/linux/syscalls.h for the arguments of the common ones. What is not known is shown as a number, never guessed.
using System.Collections.Frozen;
using System.Collections.Immutable;
using System.Globalization;
using System.Text;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Unwind;

namespace KTrace.Symbols.Kernel;

/// <summary>Names and formatting of system calls of x86-64 and i386.</summary>
public static class SystemCalls
{
    private const int MaximumString = 256;
    private const uint X32Bit = 0x4000_0000;

    private static readonly Lazy<FrozenDictionary<int, string>> NamesX86_64 = new(() => Names(SystemCallsX86_64.Runs));
    private static readonly Lazy<FrozenDictionary<int, string>> NamesI386 = new(() => Names(SystemCallsI386.Runs));
    private static readonly Lazy<FrozenDictionary<string, string>> Signatures = new(() => Pairs(SystemCallSignatures.Table).ToFrozenDictionary(p => p.Left, p => p.Right, StringComparer.Ordinal));
    private static readonly Lazy<FrozenDictionary<uint, string>> Requests = new(() =>
        Pairs(IoctlRequests.Table).ToFrozenDictionary(p => uint.Parse(p.Left, NumberStyles.HexNumber, CultureInfo.InvariantCulture), p => p.Right));

    private static readonly string[] Signals =
    [
        "0", "SIGHUP", "SIGINT", "SIGQUIT", "SIGILL", "SIGTRAP", "SIGABRT", "SIGBUS", "SIGFPE", "SIGKILL", "SIGUSR1", "SIGSEGV", "SIGUSR2", "SIGPIPE", "SIGALRM",
        "SIGTERM", "SIGSTKFLT", "SIGCHLD", "SIGCONT", "SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG", "SIGXCPU", "SIGXFSZ", "SIGVTALRM", "SIGPROF", "SIGWINCH",
        "SIGIO", "SIGPWR", "SIGSYS",
    ];

    // include/uapi/asm-generic/fcntl.h; O_SYNC contains O_DSYNC and O_TMPFILE contains O_DIRECTORY, so the longer ones come first.
    private static readonly (uint Bits, string Name)[] OpenFlags =
    [
        (0x101000, "O_SYNC"), (0x410000, "O_TMPFILE"), (0x40, "O_CREAT"), (0x80, "O_EXCL"), (0x100, "O_NOCTTY"), (0x200, "O_TRUNC"), (0x400, "O_APPEND"),
        (0x800, "O_NONBLOCK"), (0x1000, "O_DSYNC"), (0x4000, "O_DIRECT"), (0x8000, "O_LARGEFILE"), (0x10000, "O_DIRECTORY"), (0x20000, "O_NOFOLLOW"),
        (0x40000, "O_NOATIME"), (0x80000, "O_CLOEXEC"), (0x200000, "O_PATH"),
    ];

    /// <summary>The name of a system call, or null. <paramref name="isI386"/>: the number is of the i386 table (a 32-bit kernel, or a compat call).</summary>
    public static string? NameOf(long number, bool isI386)
    {
        if (!isI386 && number >= X32Bit)
        {
            number &= ~(long)X32Bit;
        }

        return number is >= 0 and <= int.MaxValue ? (isI386 ? NamesI386 : NamesX86_64).Value.GetValueOrDefault((int)number) : null;
    }

    /// <summary>The name of an ioctl request (SIOCSIFFLAGS for 0x8914), or null.</summary>
    public static string? IoctlName(uint request) => Requests.Value.GetValueOrDefault(request);

    /// <summary>
    /// The call with its arguments: <c>ioctl(3, SIOCSIFFLAGS, 0x7ffd5d2c9c30)</c>. Descriptors and small numbers are decimal, pointers hexadecimal, names where they are
    /// known. A call whose arguments are not known shows its first three and "…".
    /// </summary>
    /// <param name="user">The user's registers, as <see cref="UnwindStop.UserSpace"/> has them.</param>
    /// <param name="isCompat">An i386 call on a 64-bit kernel.</param>
    /// <param name="memory">Where paths may be read from; null, or a path that was not fetched, shows the pointer.</param>
    public static string Format(RegisterSet user, long number, bool isCompat, IMemoryReader? memory = null)
    {
        var isI386 = isCompat || user.Architecture.WordSize == 4;
        var name = NameOf(number, isI386);
        var signature = name is null ? null : Signatures.Value.GetValueOrDefault(name);
        var text = new StringBuilder(name ?? "syscall_" + number.ToString(CultureInfo.InvariantCulture)).Append('(');
        var registers = ArgumentRegisters(user.Architecture, isI386);
        var count = signature switch
        {
            null => 3,
            "-" => 0,
            _ => Math.Min(signature.Length, registers.Length),
        };
        for (var i = 0; i < count; i++)
        {
            text.Append(i == 0 ? "" : ", ");
            if (!user.IsKnown(registers[i]))
            {
                text.Append('?');
                continue;
            }

            var value = isI386 ? (uint)user[registers[i]] : user[registers[i]];
            text.Append(Argument(signature is null ? 'n' : signature[i], value, isI386, memory));
        }

        return text.Append(signature is null ? ", …)" : ")").ToString();
    }

    /// <summary>The raw arguments of a call (six), and what is known in words of those that its prototype has: null for pointers and for what was not known.</summary>
    public static (ImmutableArray<ulong> Values, ImmutableArray<string?> Texts) Arguments(RegisterSet user, long number, bool isCompat)
    {
        var isI386 = isCompat || user.Architecture.WordSize == 4;
        var registers = ArgumentRegisters(user.Architecture, isI386);
        var values = registers.Select(r => isI386 ? (uint)user[r] : user[r]).ToImmutableArray();
        var signature = NameOf(number, isI386) is { } name ? Signatures.Value.GetValueOrDefault(name) : null;
        var count = signature is null or "-" ? 0 : Math.Min(signature.Length, registers.Length);
        var texts = ImmutableArray.CreateBuilder<string?>(count);
        for (var i = 0; i < count; i++)
        {
            var isPointer = signature![i] is 'p' or 's' && values[i] != 0;
            texts.Add(isPointer || !user.IsKnown(registers[i]) ? null : Argument(signature[i], values[i], isI386, null));
        }

        return (values[..(signature == "-" ? 0 : count == 0 ? values.Length : count)], texts.ToImmutable());
    }

    /// <summary>Linux' own convention, which differs from C's in the fourth register of x86-64.</summary>
    private static int[] ArgumentRegisters(Architecture architecture, bool isI386) => architecture switch
    {
        X86_64 when isI386 => [X86_64.Rbx, X86_64.Rcx, X86_64.Rdx, X86_64.Rsi, X86_64.Rdi, X86_64.Rbp],
        X86_64 => [X86_64.Rdi, X86_64.Rsi, X86_64.Rdx, X86_64.R10, X86_64.R8, X86_64.R9],
        _ => [I386.Ebx, I386.Ecx, I386.Edx, I386.Esi, I386.Edi, I386.Ebp],
    };

    private static string Argument(char kind, ulong value, bool isI386, IMemoryReader? memory)
    {
        var signed = isI386 ? (int)(uint)value : (long)value;
        return kind switch
        {
            // The kernel takes descriptors and ints from the low half; libraries leave anything above.
            'd' or 'i' => ((int)(uint)value).ToString(CultureInfo.InvariantCulture),
            'a' => (int)(uint)value == -100 ? "AT_FDCWD" : ((int)(uint)value).ToString(CultureInfo.InvariantCulture),
            'u' => ((uint)value).ToString(CultureInfo.InvariantCulture),
            'z' => value.ToString(CultureInfo.InvariantCulture),
            'm' => "0" + Convert.ToString((uint)value & 0xffff, 8),
            'o' => Flags((uint)value),
            'r' => IoctlName((uint)value) ?? "0x" + ((uint)value).ToString("x", CultureInfo.InvariantCulture),
            'g' => value < (ulong)Signals.Length ? Signals[value] : value.ToString(CultureInfo.InvariantCulture),
            's' => Path(value, memory),
            'p' => value == 0 ? "NULL" : "0x" + value.ToString("x", CultureInfo.InvariantCulture),
            'x' => value == 0 ? "0" : "0x" + value.ToString("x", CultureInfo.InvariantCulture),
            _ => signed is >= -4096 and < 4096 ? signed.ToString(CultureInfo.InvariantCulture) : "0x" + value.ToString("x", CultureInfo.InvariantCulture),
        };
    }

    private static string Flags(uint value)
    {
        var text = new StringBuilder((value & 3) switch
        {
            0 => "O_RDONLY",
            1 => "O_WRONLY",
            2 => "O_RDWR",
            _ => "3",
        });
        var rest = value & ~3u;
        foreach (var (bits, name) in OpenFlags)
        {
            if ((rest & bits) == bits)
            {
                text.Append('|').Append(name);
                rest &= ~bits;
            }
        }

        return rest == 0 ? text.ToString() : text.Append("|0x").Append(rest.ToString("x", CultureInfo.InvariantCulture)).ToString();
    }

    private static string Path(ulong address, IMemoryReader? memory)
    {
        if (address == 0)
        {
            return "NULL";
        }

        if (memory is not null)
        {
            Span<byte> bytes = stackalloc byte[MaximumString];
            for (var length = 0; length < MaximumString; length++)
            {
                if (memory.Read(address + (ulong)length, bytes.Slice(length, 1)) != MemoryReadResult.Ok)
                {
                    break;
                }

                if (bytes[length] == 0)
                {
                    return "\"" + Encoding.UTF8.GetString(bytes[..length]).Replace("\\", "\\\\").Replace("\"", "\\\"").Replace("\n", "\\n") + "\"";
                }
            }
        }

        return "0x" + address.ToString("x", CultureInfo.InvariantCulture);
    }

    private static FrozenDictionary<int, string> Names((int First, string Names)[] runs)
    {
        var names = new Dictionary<int, string>();
        foreach (var (first, run) in runs)
        {
            var number = first;
            foreach (var name in Words(run))
            {
                names[number++] = name;
            }
        }

        return names.ToFrozenDictionary();
    }

    private static IEnumerable<(string Left, string Right)> Pairs(string table)
    {
        var words = Words(table);
        for (var i = 0; i + 1 < words.Length; i += 2)
        {
            yield return (words[i], words[i + 1]);
        }
    }

    private static string[] Words(string text) => text.Split((char[])[' ', '\n', '\r'], StringSplitOptions.RemoveEmptyEntries);
}

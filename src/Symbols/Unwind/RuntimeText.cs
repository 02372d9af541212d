// Code that the kernel makes while it runs. ftrace copies ftrace_caller or ftrace_regs_caller for every user of its own (6.1:
// arch/x86/kernel/ftrace.c, create_trampoline) into memory that belongs to no section; the copy differs from the original in what it
// calls and not in how it uses the stack, so rows and names of the original hold for it (unwind_orc.c, orc_ftrace_find, does the same).
// All users are on the list ftrace_ops_list. Which original it was is told by the size: the copy ends with a return and a pointer.
// A user that is being removed leaves the list before its trampoline ends to run; then the code behind its call tells what it is a copy of.
using System.Buffers.Binary;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Types;

namespace KTrace.Symbols.Unwind;

/// <summary>What is known about an address outside all sections.</summary>
/// <param name="Original">The address in known code that it is a copy of, at run time; 0 when it is none.</param>
/// <param name="Missing">Set when memory has to be fetched before this can be told.</param>
public readonly record struct RuntimeTextAnswer(ulong Original, UnwindStop.MemoryMissing? Missing);

/// <summary>The kernel's ftrace trampolines, read from the guest's memory when an address asks for them. Immutable, thread-safe.</summary>
public sealed class RuntimeText
{
    // A kernel has a handful of users of ftrace at a time.
    private const int MaximumUsers = 64;
    private const int LargestTail = 24;
    private const int CallLength = 5;

    // Moves that give registers back: enough of them that nothing else looks so.
    private const int ComparedBytes = 24;

    private readonly ulong _list;
    private readonly int _next;
    private readonly int _trampoline;
    private readonly int _size;
    private readonly (ulong Start, ulong Length)[] _originals;
    private readonly (ulong Return, byte[] Code)[] _calls;

    private RuntimeText(ulong list, int next, int trampoline, int size, (ulong Start, ulong Length)[] originals, (ulong Return, byte[] Code)[] calls)
    {
        _calls = calls;
        _list = list;
        _next = next;
        _trampoline = trampoline;
        _size = size;
        _originals = originals;
    }

    /// <summary>Null for a kernel without dynamic ftrace, or whose symbols or types do not tell. Addresses as linked; the answers are so too.</summary>
    /// <param name="code">Reads code at a link-time address from the file; false where there is none.</param>
    public static RuntimeText? TryOpen(Architecture architecture, Func<string, ulong?> symbol, Func<ulong, byte[], bool> code, IStructLayouts layouts)
    {
        // The i386 kernel has no trampolines of its own making (CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS and ops trampolines are x86-64's).
        if (architecture is not X86_64 || symbol("ftrace_ops_list") is not { } list
            || !layouts.TryFindMember("ftrace_ops", "next", out var next)
            || !layouts.TryFindMember("ftrace_ops", "trampoline", out var trampoline)
            || !layouts.TryFindMember("ftrace_ops", "trampoline_size", out var size))
        {
            return null;
        }

        var originals = new List<(ulong, ulong)>();
        foreach (var name in (string[])["ftrace_caller", "ftrace_regs_caller"])
        {
            if (symbol(name) is { } start && (symbol(name + "_end") ?? symbol(name.Replace("_caller", "_caller_ret", StringComparison.Ordinal))) is { } end && end > start)
            {
                originals.Add((start, end - start));
            }
        }

        var calls = new List<(ulong, byte[])>();
        foreach (var name in (string[])["ftrace_call", "ftrace_regs_call"])
        {
            var behind = new byte[ComparedBytes];
            if (symbol(name) is { } call && code(call + CallLength, behind))
            {
                calls.Add((call + CallLength, behind));
            }
        }

        return originals.Count == 0 ? null : new RuntimeText(list, next.ByteOffset, trampoline.ByteOffset, size.ByteOffset, [.. originals], [.. calls]);
    }

    /// <param name="address">In the target.</param>
    /// <param name="slide">KASLR's displacement.</param>
    public RuntimeTextAnswer Find(ulong address, ulong slide, IMemoryReader memory)
    {
        var place = _list + slide;
        for (var i = 0; i < MaximumUsers; i++)
        {
            if (Word(place, memory, out var user) is { } missing)
            {
                return new RuntimeTextAnswer(0, missing);
            }

            // The list ends in ftrace_list_end, whose next is null.
            if (user == 0)
            {
                break;
            }

            if ((Word(user + (ulong)_trampoline, memory, out var start) ?? Word(user + (ulong)_size, memory, out _)) is { } absent)
            {
                return new RuntimeTextAnswer(0, absent);
            }

            Word(user + (ulong)_size, memory, out var size);
            if (address >= start && address - start < size)
            {
                foreach (var (original, length) in _originals)
                {
                    if (size > length && size - length <= LargestTail && address - start < length)
                    {
                        return new RuntimeTextAnswer(original + slide + (address - start), null);
                    }
                }

                return default;
            }

            place = user + (ulong)_next;
        }

        return ByCode(address, slide, memory);
    }

    private RuntimeTextAnswer ByCode(ulong address, ulong slide, IMemoryReader memory)
    {
        Span<byte> code = stackalloc byte[ComparedBytes];
        switch (_calls.Length == 0 ? MemoryReadResult.Unreadable : memory.Read(address, code))
        {
            case MemoryReadResult.NotFetched:
                return new RuntimeTextAnswer(0, new UnwindStop.MemoryMissing(address, ComparedBytes));
            case MemoryReadResult.Ok:
                foreach (var (behind, bytes) in _calls)
                {
                    if (code.SequenceEqual(bytes))
                    {
                        return new RuntimeTextAnswer(behind + slide, null);
                    }
                }

                break;
        }

        return default;
    }

    private static UnwindStop.MemoryMissing? Word(ulong address, IMemoryReader memory, out ulong value)
    {
        Span<byte> bytes = stackalloc byte[8];
        bytes.Clear();
        var result = memory.Read(address, bytes);
        value = result == MemoryReadResult.Ok ? BinaryPrimitives.ReadUInt64LittleEndian(bytes) : 0;
        return result == MemoryReadResult.NotFetched ? new UnwindStop.MemoryMissing(address, 8) : null;
    }
}

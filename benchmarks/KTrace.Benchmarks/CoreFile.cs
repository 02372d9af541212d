// A captured stop as an ELF core file, so that gdb opens what KTrace reads: gABI, chapter 5 (ET_CORE, PT_NOTE, PT_LOAD); struct elf_prstatus of
// include/uapi/linux/elfcore.h (6.1) and struct user_regs_struct of arch/x86/include/asm/user_64.h for the registers' order.
using KTrace.Symbols.Unwind;

namespace KTrace.Benchmarks;

/// <summary>Writes core files of x86-64.</summary>
internal static class CoreFile
{
    private const int StatusSize = 336, ProcessAt = 32, RegistersAt = 112, HeaderSize = 64, ProgramHeaderSize = 56;

    private static readonly string[] Order =
    [
        "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi", "", "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base",
    ];

    public static void Write(string path, RegisterSet registers, IReadOnlyList<(ulong Start, byte[] Bytes)> memory)
    {
        // Whole pages, as in every core file: gdb reads stacks by the cache line, and takes a line that is not all there from the executable.
        memory = [.. memory.Select(m => Pages(m.Start, m.Bytes))];
        var status = new byte[StatusSize];
        status[ProcessAt] = 1;
        for (var i = 0; i < Order.Length; i++)
        {
            if (Order[i].Length > 0 && registers.Architecture.IndexOf(Order[i]) is >= 0 and var index && registers.IsKnown(index))
            {
                BitConverter.TryWriteBytes(status.AsSpan(RegistersAt + (i * 8)), registers[index]);
            }
        }

        using var file = new BinaryWriter(File.Create(path));
        var note = HeaderSize + (ProgramHeaderSize * (memory.Count + 1));
        file.Write([0x7f, (byte)'E', (byte)'L', (byte)'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        file.Write((ushort)4);
        file.Write((ushort)62);
        file.Write(1);
        file.Write(0L);
        file.Write((long)HeaderSize);
        file.Write(0L);
        file.Write(0);
        foreach (var half in (ushort[])[HeaderSize, ProgramHeaderSize, (ushort)(memory.Count + 1), 0, 0, 0])
        {
            file.Write(half);
        }

        const int NoteSize = 12 + 8 + StatusSize;
        Segment(file, 4, note, 0, NoteSize);
        long at = note + NoteSize;
        foreach (var (start, bytes) in memory)
        {
            Segment(file, 1, at, start, bytes.Length);
            at += bytes.Length;
        }

        file.Write(5);
        file.Write(StatusSize);
        file.Write(1); // NT_PRSTATUS
        file.Write("CORE\0\0\0\0"u8);
        file.Write(status);
        foreach (var (_, bytes) in memory)
        {
            file.Write(bytes);
        }
    }

    private static (ulong Start, byte[] Bytes) Pages(ulong start, byte[] bytes)
    {
        const int Page = 4096;
        var before = (int)(start % Page);
        var pages = new byte[(before + bytes.Length + Page - 1) / Page * Page];
        bytes.CopyTo(pages, before);
        return (start - (ulong)before, pages);
    }

    private static void Segment(BinaryWriter file, int type, long offset, ulong address, long size)
    {
        file.Write(type);
        file.Write(6); // readable, writable
        file.Write(offset);
        file.Write(address);
        file.Write(0L);
        file.Write(size);
        file.Write(type == 1 ? size : 0L);
        file.Write(1L);
    }
}

// How a piece of RAM is kept from the kernel without its knowing, and without a word on its command line: when setup_arch begins (init/main.c: start_kernel), the kernel has its own copy of the boot
// parameters (boot_params) and has not read the memory map in it. The entry of RAM is split there. The kernel prints the piece as reserved, /proc/iomem shows it so, and
// nothing else is different. A PCI device's memory would not do: the kernel switches it off while it sizes its window, with traced functions running.
using System.Buffers.Binary;
using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Symbols.Kernel;

namespace KTrace.Debugger.NonStop.Guest;

/// <summary>A piece of guest-physical memory that the kernel leaves alone.</summary>
/// <param name="Physical">Its first address.</param>
/// <param name="Size">Bytes.</param>
public sealed record ReservedMemory(ulong Physical, ulong Size)
{
    private const int ParametersSize = 4096;
    private const ulong FourGigabytes = 1UL << 32;

    // struct setup_header within struct boot_params (Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header").
    private const int RamdiskImage = 0x218, RamdiskSize = 0x21c, ExtendedRamdiskImage = 0x0c0, ExtendedRamdiskSize = 0x0c4, CommandLine = 0x228, SetupData = 0x250;
    private const int MaximumCommandLine = 4096;

    // struct setup_data { u64 next; u32 type; u32 len; u8 data[]; }
    private const int MaximumSetupData = 64;
    private const int SetupDataHeader = 16;

    // What real mode, the BIOS and the kernel's own real-mode code want.
    private const ulong LowMemory = 1 << 20;

    /// <summary>Where the guest has to stand for <see cref="TryReserveAsync"/>: setup_arch's first instruction, at run time; null when this kernel has none.</summary>
    public static ulong? MomentIn(KernelMap map) =>
        map.Image.TryFindSymbol("setup_arch", out var setup) && map.Image.TryFindSymbol("boot_params", out _) ? map.ToRunTime(setup.Value) : null;

    /// <summary>Takes the piece out of the kernel's memory map.</summary>
    /// <param name="target">Stands at <see cref="MomentIn"/>.</param>
    /// <returns>The piece; or why there is none, in words for people.</returns>
    /// <exception cref="RspException">The stub broke, or refuses to write.</exception>
    public static async Task<(ReservedMemory? Reserved, string? WhyNot)> TryReserveAsync(
        KernelTarget target, ulong size, ulong alignment, CancellationToken cancellationToken)
    {
        var (machine, map) = (target.Machine, target.Map);
        if (!map.Image.TryFindSymbol("boot_params", out var variable))
        {
            return (null, "the kernel has no boot_params: where its memory map is, is not known");
        }

        var address = map.ToRunTime(variable.Value);
        var parameters = new byte[ParametersSize];
        if (!await machine.Memory.TryReadAsync(address, parameters, cancellationToken) || E820Table.Read(parameters) is not { } entries)
        {
            return (null, "the kernel has no memory map of the e820 kind");
        }

        var occupied = await OccupiedAsync(target, parameters, cancellationToken);
        if (E820Table.FindRoom(entries, size, alignment, occupied, FourGigabytes) is not { } start)
        {
            return (null, $"the guest has no {size >> 20} MiB of free memory in one piece");
        }

        if (E820Table.Reserve(entries, start, size) is not { } table)
        {
            return (null, "the guest's memory map is full");
        }

        await WriteAsync(machine.Client, address + E820Table.TableOffset, E820Table.Write(table), cancellationToken);
        await WriteAsync(machine.Client, address + E820Table.CountOffset, new[] { (byte)table.Length }, cancellationToken);
        return (new ReservedMemory(start, size), null);
    }

    /// <summary>Bytes of RAM that the guest's memory map tells of; for choosing a size.</summary>
    public static ulong RamOf(Memory.MappedRam ram) => ram.Ranges.Aggregate(0UL, (sum, range) => sum + (range.End - range.Start));

    /// <summary>What lies in memory at this time: the kernel, its initramfs, its command line, what the loader left for it, and low memory.</summary>
    private static async Task<List<PhysicalRange>> OccupiedAsync(KernelTarget target, byte[] parameters, CancellationToken cancellationToken)
    {
        var occupied = new List<PhysicalRange> { new(0, LowMemory) };
        if (await KernelRangeAsync(target, cancellationToken) is { } kernel)
        {
            occupied.Add(kernel);
        }

        Add(Joined(RamdiskImage, ExtendedRamdiskImage), Joined(RamdiskSize, ExtendedRamdiskSize));
        Add(U32(CommandLine), MaximumCommandLine);
        var next = BinaryPrimitives.ReadUInt64LittleEndian(parameters.AsSpan(SetupData));
        for (var count = 0; next != 0 && count < MaximumSetupData; count++)
        {
            var header = new byte[SetupDataHeader];
            if (target.Memory.Ram?.TryRead(next, header) != true)
            {
                break;
            }

            Add(next, SetupDataHeader + (ulong)BinaryPrimitives.ReadUInt32LittleEndian(header.AsSpan(12)));
            next = BinaryPrimitives.ReadUInt64LittleEndian(header);
        }

        return occupied;

        ulong U32(int offset) => BinaryPrimitives.ReadUInt32LittleEndian(parameters.AsSpan(offset));

        ulong Joined(int low, int high) => U32(low) | (U32(high) << 32);

        void Add(ulong start, ulong length)
        {
            if (start != 0 && length is > 0 and < FourGigabytes)
            {
                occupied.Add(new PhysicalRange(start, start + length));
            }
        }
    }

    /// <summary>_text to _end, as it lies in memory.</summary>
    private static async Task<PhysicalRange?> KernelRangeAsync(KernelTarget target, CancellationToken cancellationToken)
    {
        if (!target.Map.Image.TryFindSymbol("_text", out var text) || !target.Map.Image.TryFindSymbol("_end", out var end)
            || await GuestTables.TranslateAsync(target.Machine, target.Map.ToRunTime(text.Value), cancellationToken) is not { } start)
        {
            return null;
        }

        return new PhysicalRange(start, start + (end.Value - text.Value));
    }

    private static async Task WriteAsync(RspClient client, ulong address, ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
    {
        const int piece = 512;
        for (var done = 0; done < bytes.Length; done += piece)
        {
            await client.SendAsync(new WriteMemory(address + (ulong)done, bytes[done..Math.Min(done + piece, bytes.Length)]), cancellationToken);
        }
    }
}

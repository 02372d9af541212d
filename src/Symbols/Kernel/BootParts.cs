// A bzImage as a boot loader sees it (Documentation/arch/x86/boot.rst, "Details of header fields", protocol 2.10 and later): setup_sects + 1 sectors of setup code, which run
// in real mode at a segment that the loader chooses; then the protected-mode code (the decompressor with the compressed kernel in it), loaded at code32_start, which a
// relocatable kernel may have been given anywhere. The decompressor moves itself to the end of the memory in which it unpacks.
using System.Buffers.Binary;
using KTrace.Symbols.Elf;

namespace KTrace.Symbols.Kernel;

/// <summary>The two programs of a bzImage, as bytes, and what its header says about where they run.</summary>
public sealed class BootParts
{
    private const int SetupSectors = 0x1f1;
    private const int SectorSize = 512;
    private const int ProtocolVersion = 0x206;
    private const int Code32Start = 0x214;
    private const int KernelAlignment = 0x230;
    private const int LoadFlags = 0x236;
    private const int PayloadOffsetField = 0x248;
    private const int PayloadLengthField = 0x24c;
    private const int PreferredAddressField = 0x258;
    private const int InitSize = 0x260;
    private const int HeaderEnd = 0x268;

    private BootParts(SectionData setup, SectionData decompressor)
    {
        Setup = setup;
        Decompressor = decompressor;
        var header = setup.Span;
        LoadAddress = BinaryPrimitives.ReadUInt32LittleEndian(header[Code32Start..]);
        Alignment = BinaryPrimitives.ReadUInt32LittleEndian(header[KernelAlignment..]);
        Is64Bit = (header[LoadFlags] & 1) != 0;
        PayloadOffset = BinaryPrimitives.ReadUInt32LittleEndian(header[PayloadOffsetField..]);
        PayloadLength = BinaryPrimitives.ReadUInt32LittleEndian(header[PayloadLengthField..]);
        PreferredAddress = BinaryPrimitives.ReadUInt64LittleEndian(header[PreferredAddressField..]);
        MemoryNeeded = BinaryPrimitives.ReadUInt32LittleEndian(header[InitSize..]);
    }

    /// <summary>The real-mode code; its first byte is the boot sector's, at offset 0 of its segment. A boot loader fills in some of its header (0x1f1 to 0x268).</summary>
    public SectionData Setup { get; }

    /// <summary>The protected-mode code, with the compressed kernel in it.</summary>
    public SectionData Decompressor { get; }

    /// <summary>code32_start: where a boot loader puts <see cref="Decompressor"/> unless it chooses another place.</summary>
    public uint LoadAddress { get; }

    /// <summary>kernel_alignment, in bytes.</summary>
    public uint Alignment { get; }

    /// <summary>XLF_KERNEL_64: the kernel is a 64-bit one.</summary>
    public bool Is64Bit { get; }

    /// <summary>The compressed kernel in <see cref="Decompressor"/>; the decompressor's code begins behind it.</summary>
    public uint PayloadOffset { get; }

    /// <summary>In bytes.</summary>
    public uint PayloadLength { get; }

    /// <summary>pref_address: where the kernel runs when nothing moves it.</summary>
    public ulong PreferredAddress { get; }

    /// <summary>init_size: bytes from where the kernel is unpacked that it and its decompressor need.</summary>
    public uint MemoryNeeded { get; }

    /// <summary>Null when the file is no bzImage of protocol 2.10 or later (Linux 2.6.31).</summary>
    /// <exception cref="MalformedFileException">It is truncated.</exception>
    /// <exception cref="IOException">It cannot be read.</exception>
    public static BootParts? TryOpen(string path)
    {
        var file = new MappedFile(path);
        if (!BzImage.Is(file))
        {
            return null;
        }

        var header = file.Slice("", 0, HeaderEnd);
        if (BinaryPrimitives.ReadUInt16LittleEndian(header.Span[ProtocolVersion..]) < 0x20a)
        {
            return null;
        }

        int sectors = header.Span[SetupSectors];
        var start = ((sectors == 0 ? 4 : sectors) + 1L) * SectorSize;
        return start < file.Length
            ? new BootParts(file.Slice("setup", 0, start), file.Slice("decompressor", start, Math.Min(file.Length - start, int.MaxValue)))
            : throw header.Malformed(SetupSectors, $"setup code of 0x{start:x} bytes in a file of 0x{file.Length:x}; is it truncated?");
    }
}

// A bootable x86 kernel: Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header" (checked up to 6.12). Since protocol 2.08 (Linux 2.6.26) it tells where the
// compressed kernel lies: payload_offset and payload_length, counted from the start of the protected-mode code. The payload is vmlinux without symbols and DWARF
// (arch/x86/boot/compressed/Makefile: objcopy -R .comment -S), which keeps .orc_unwind, .BTF and .notes; behind it may stand relocations, and behind the compressed
// stream stands its size in four bytes (for gzip those are part of the format).
using System.Buffers.Binary;
using KTrace.Symbols.Elf;

namespace KTrace.Symbols.Kernel;

/// <summary>Takes the kernel out of a bzImage or vmlinuz.</summary>
internal static class BzImage
{
    private const int HeaderEnd = 0x268;
    private const int SetupSectors = 0x1f1;
    private const int Signature = 0x202;
    private const int Version = 0x206;
    private const int PayloadOffset = 0x248;
    private const int PayloadLength = 0x24c;
    private const int SectorSize = 512;
    private const int FirstWithPayload = 0x208;
    private const int SizeField = 4;

    // No kernel comes near: the largest distribution kernels inflate to 90 MB.
    private const uint MaximumKernel = 1u << 30;

    /// <summary>The file begins like one.</summary>
    public static bool Is(MappedFile file) =>
        file.Length >= HeaderEnd && file.Slice("", Signature, 4).Span.SequenceEqual("HdrS"u8) && file.Slice("", 0x1fe, 2).Span.SequenceEqual((ReadOnlySpan<byte>)[0x55, 0xaa]);

    /// <summary>The kernel's ELF file, inflated. Throws <see cref="MalformedFileException"/> when there is none in it.</summary>
    public static ElfFile Extract(MappedFile file)
    {
        var header = file.Slice("", 0, HeaderEnd);
        var version = BinaryPrimitives.ReadUInt16LittleEndian(header.Span[Version..]);
        if (version < FirstWithPayload)
        {
            throw header.Malformed(Version, $"boot protocol {version >> 8}.{version & 0xff:x2}, which does not tell where the kernel lies (2.08 does)");
        }

        int sectors = header.Span[SetupSectors];
        var start = ((sectors == 0 ? 4 : sectors) + 1L) * SectorSize;
        var offset = start + BinaryPrimitives.ReadUInt32LittleEndian(header.Span[PayloadOffset..]);
        long length = BinaryPrimitives.ReadUInt32LittleEndian(header.Span[PayloadLength..]);
        if (length <= SizeField || offset > file.Length || length > file.Length - offset)
        {
            throw header.Malformed(PayloadOffset, $"a payload of 0x{length:x} bytes at 0x{offset:x}, outside the file (size 0x{file.Length:x}); is it truncated?");
        }

        var payload = file.Slice("", offset, length);
        if (payload.Span.StartsWith("\u007fELF"u8))
        {
            // CONFIG_KERNEL_UNCOMPRESSED.
            return ElfFile.Open(InflatedFile.Copy(payload));
        }

        if (InflatedFile.FormatOf(payload.Span) is not { } format)
        {
            throw payload.Malformed(0, "a payload in no format that a kernel is compressed with");
        }

        var size = BinaryPrimitives.ReadUInt32LittleEndian(payload.Span[^SizeField..]);
        if (size > MaximumKernel)
        {
            throw payload.Malformed(length - SizeField, $"a kernel that claims 0x{size:x} bytes");
        }

        // Programs other than gzip take the size behind the stream for damage.
        var stream = format == Compression.Gzip ? payload : file.Slice("", offset, length - SizeField);
        var mapped = InflatedFile.Open(stream, 0, format, size);
        return mapped.Length == size ? ElfFile.Open(mapped) : throw payload.Malformed(0, $"a kernel of 0x{mapped.Length:x} bytes that claims 0x{size:x}");
    }
}

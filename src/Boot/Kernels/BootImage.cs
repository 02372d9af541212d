// What a bzImage says of itself before it runs: Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header".
using System.Buffers.Binary;
using System.Text;

namespace KTrace.Boot.Kernels;

/// <summary>The header of a bootable kernel image.</summary>
public static class BootImage
{
    private const int HeaderSize = 0x268;
    private const int Signature = 0x202;
    private const int VersionField = 0x20e;
    private const int LoadFlags = 0x236;

    /// <summary>The image has the boot protocol's signature "HdrS".</summary>
    public static bool IsBootable(string path) => TryReadHeader(path) is { } header
        && header.AsSpan(Signature).StartsWith("HdrS"u8);

    /// <summary>The kernel is a 64-bit one: XLF_KERNEL_64, protocol 2.12. An image without a header counts as 64-bit, as most
    /// are.</summary>
    public static bool Is64Bit(string path) => TryReadHeader(path) is not { } header
        || !header.AsSpan(Signature).StartsWith("HdrS"u8)
        || BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(0x206)) < 0x20c || (header[LoadFlags] & 1) != 0;

    /// <summary>The release at the beginning of the version text, such as 6.1.0-56-amd64; null if the image does not
    /// say.</summary>
    public static string? Release(string path)
    {
        if (TryReadHeader(path) is not { } header || !header.AsSpan(Signature).StartsWith("HdrS"u8))
        {
            return null;
        }

        int pointer = BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(VersionField));
        if (pointer == 0)
        {
            return null;
        }

        try
        {
            using var file = File.OpenRead(path);
            var text = new byte[256];
            file.Position = 0x200 + pointer;
            var length = file.ReadAtLeast(text, text.Length, throwOnEndOfStream: false);
            var end = text.AsSpan(0, length).IndexOfAny((byte)' ', (byte)0);
            var release = end > 0 ? Encoding.ASCII.GetString(text, 0, end) : null;
            return release is not null && release.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '-' or '_' or '+' or '~')
                ? release : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private static byte[]? TryReadHeader(string path)
    {
        try
        {
            using var file = File.OpenRead(path);
            var header = new byte[HeaderSize];
            return file.ReadAtLeast(header, header.Length, throwOnEndOfStream: false) == header.Length ? header : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}

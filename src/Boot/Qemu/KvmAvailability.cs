// KVM's device: Documentation/virt/kvm/api.rst, 4.1 KVM_GET_API_VERSION (12 since Linux 2.6.22; anything else is to be refused). Opening it says that this user may; that it answers says that
// there is a hypervisor behind it. A processor without vmx and svm has one that emulates (a virtual machine within another): it works, and is slower than TCG by far.
using System.Runtime.InteropServices;

namespace KTrace.Boot.Qemu;

/// <summary>Whether QEMU's KVM can be used here.</summary>
/// <param name="IsUsable">QEMU will start with -accel kvm.</param>
/// <param name="Words">A sentence for people.</param>
public sealed record KvmAvailability(bool IsUsable, string Words)
{
    private const string Device = "/dev/kvm";
    private const nuint GetApiVersion = 0xae00;
    private const int ApiVersion = 12;

    /// <summary>Looks at this machine; changes nothing.</summary>
    public static KvmAvailability Check()
    {
        if (!File.Exists(Device))
        {
            return new KvmAvailability(false, $"{Device} is not here: no virtualisation in this processor or kernel; ktrace uses TCG, which needs none");
        }

        try
        {
            using var opened = File.OpenHandle(Device, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
            var version = Control(opened, GetApiVersion, 0);
            if (version != ApiVersion)
            {
                return new KvmAvailability(false, $"{Device} answers with API version {version} instead of {ApiVersion}; ktrace uses TCG, which needs none");
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return new KvmAvailability(false, $"{Device} is there, but not for this user; ktrace uses TCG, which needs none");
        }

        return HasVirtualisation()
            ? new KvmAvailability(true, "usable with --accel kvm; ktrace uses TCG otherwise, which is slower and stops anywhere")
            : new KvmAvailability(true, "usable, but this processor shows neither vmx nor svm: guests run slower than with TCG, which ktrace uses");
    }

    private static bool HasVirtualisation()
    {
        try
        {
            return File.ReadLines("/proc/cpuinfo").FirstOrDefault(line => line.StartsWith("flags", StringComparison.Ordinal))?.Split(' ').Any(flag => flag is "vmx" or "svm") == true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    [DllImport("libc", EntryPoint = "ioctl", SetLastError = true)]
    private static extern int Control(SafeHandle descriptor, nuint request, nuint argument);
}
